"""The village node's agent: the house and its map.

`hal` is the outer wall; every door to the world is a port in `hal.ports`, opened by a real driver
(`hal.linux`) or its virtual sibling (`hal.sim`). The rooms below have no door of their own. Data
enters by an inlet, passes the junction, leaves by an outlet, and rests on its way in one tank;
imports run in the same direction, top to bottom, and results return as the value of an await.

::

    __main__        the entry
    cli/            what people type        app check enrol keys keyfile keysheet order order_live posting send sending desired box ahead cellar board board_test simulate watch run silence speech log_lines;
                                            report month month_page month_chart;
                                            demo: demo_run demo_stage demo_scene demo_view demo_verdict demo_judgement
    agent           starts the rooms bottom-up, stops them in exact reverse
    rooms           builds them
    doors           opens the doors a config asks for, each real or virtual
    config/         TOML to settings        reading toml_lines conversion kinds sections models rules problem last_good remote
    catalogue       what is said to people, Vietnamese and English; its other sheets: sentences sentences_report sentences_boards

    command/        INLET: orders           topics envelope signing keys ring keyring replay acceptance messages audible ledger scribe
                                            tally execution inbox settings; alerts: cap area assessment bulletins stored
                                            alert_desk alert_settings;
                                            desired state: documents json_lines reconcile stick; time_answer
    schedule/       INLET: the clock        scheduler turns occurrences plan forms fired standing playlist_form settings
    sense/          INLET: the box itself   monitor light conditions settings
    local/          INLET: the technician   console requests answers settings
    router          the junction: one match from an intent to the room that does it
    crier           cries one public alert over both outlets
    programmes      makes the source of what asks for the loudspeaker: a recording, words, live sound
    stream/         live sound              sessions chain stage rtp_stage pull settings; rtp rtcp red srtp unwrap delay drift modes pieces
                                            jitter_buffer (TANK) holes feedback statistics opus decoder concealment edits line reception packetiser
    playout/        OUTLET: loudspeaker     channel (TANK) arbiter amplifier turn deck pump gain leveller loud noise source sources suite appointment line_in steering rate loudness readiness announcement
                                            guard governor stops daybook rules awaken silent settings
    board/          OUTLET: notice board    boards presenter desk bill rota proof grade health selftest requisition lease lighting notices outlet panel screen wear air drawing painter clockface images qr scroll rolling page layout spelling raster dots picture link codecs
                                            protocols/alpha jetfile hanover adalight settings
    report/         OUTLET: to the server   asrun outbox (TANK) shelf alerts status meter blackbox settings
    cache/          cellar: media           store (TANK) steward manifest assets hashing incoming fetcher download feed headlines settings

    clocktrust, timekeeping  how far wall time may be believed, and whose
    kept, ticket    small facts over restarts; a request's way through an outlet
    patterns        how digests, addresses, zones are spelt, wherever they come in
    hours           spans of the local day: quiet hours, the hours for fetching ahead
    persistence     what has happened is stored, however long the disk refuses
    playlist        what is to be seen on the boards, and when
    desired         documents that say how the node should be: who signed, who takes
    model, errors   frozen values all rooms share; the error tree

    hal/            ports (hardware ambient time sound lines screen network storage box) errors inflow mono nap
    hal/linux/      clock durable disk database sound line_in dac_time speech portaudio gpio serial connectors framebuffer kmsdrm ambient datagram only_source broker mqtt tls http_line web webcast webcast_tls control supervisor memory
    hal/sim/        world village surroundings node loop clock disk database supervisor control network datagram webcast broker topic_filter link sound line_in speech heard gpio
                    record emulator sign sign_line jetfile hanover adalight boards screen ambient board_line pty picture faults checkers judge

One order's way: broker -> command.inbox -> envelope -> acceptance -> ledger (durable, then PUBACK) -> execution ->
router -> cache.fetcher -> playout.channel -> arbiter -> turn -> amplifier and pump -> gain -> sound card; and back as
steps: stored with its as-run entry and its report in one transaction, then report.outbox -> broker.
"""

__version__ = "0.1.0"
