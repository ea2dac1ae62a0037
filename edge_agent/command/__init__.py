"""INLET: orders from the broker become intents, are journalled, carried out once and answered.

topics     where on the broker everything lies (pure)
signing    Ed25519 over the bytes of an envelope (pure)
keys       bytes -> one document of who may order, or its faults (pure)
ring       who signed an order, and may they (pure)
keyring    the keys in force: kept, renewed, reported on
replay     each number of a key counts once
envelope   bytes -> one order, or one refusal (pure)
messages   arguments -> intents, order states -> bytes (pure)
acceptance the checks of PROTOCOL.md, in its order (pure)
ledger     the durable journal of orders
execution  orders under way, each its own task
inbox      the room's thread of life: one connection after another
"""
