"""The as-run log learns of each item how often and how long it stood, and how well that is known."""

from __future__ import annotations

from edge_agent.board.grade import Grade
from edge_agent.board.proof import ITEMS_MAX, PROOF_EVERY_S, Proofs
from edge_agent.model import NS, Digest, Issuer, OrderId, Outcome, Precedence, Reason, ReasonCode

KEY = OrderId("hop@v3")
XA = Issuer("xa")
PAGE, OTHER = Digest("sha256:" + "a" * 64), Digest("sha256:" + "b" * 64)


def stood(
    proofs: Proofs,
    from_s: float,
    to_s: float,
    *,
    key: OrderId = KEY,
    page: Digest = PAGE,
    grade: Grade = Grade.ACKED,
    first: bool = True,
) -> None:
    proofs.stood(
        key,
        XA,
        Precedence.ROUTINE,
        page=page,
        from_ns=round(from_s * NS),
        to_ns=round(to_s * NS),
        grade=grade,
        first=first,
    )


def test_an_item_has_one_entry_for_all_its_turns() -> None:
    proofs = Proofs("main")
    stood(proofs, 10, 15)
    stood(proofs, 15, 18, page=OTHER, first=False)
    stood(proofs, 100, 105)
    assert proofs.ripe(106 * NS, {KEY}) == [], "it is on the list, and its time has not come"
    (proof,) = proofs.ripe(PROOF_EVERY_S * NS + 10 * NS, {KEY})
    assert (proof.key, proof.issuer) == (KEY, XA)
    assert proof.asrun.outcome is Outcome.AIRED
    assert (proof.asrun.started_ns, proof.asrun.ended_ns) == (10 * NS, 105 * NS)
    assert (proof.asrun.pages, proof.asrun.proof) == (2, 2)
    assert proof.asrun.live == {
        "board": "main",
        "grade": "acked",
        "times": 2,
        "seconds": 13,
        "pages": [{"digest": PAGE, "seconds": 10}, {"digest": OTHER, "seconds": 3}],
    }
    assert proofs.ripe(9 * PROOF_EVERY_S * NS, set()) == [], "an entry is made once"


def test_an_item_that_has_left_the_list_has_its_entry_at_once() -> None:
    proofs = Proofs("main")
    stood(proofs, 0, 5)
    assert [proof.key for proof in proofs.ripe(6 * NS, set())] == [KEY]


def test_the_weakest_grade_counts() -> None:
    proofs = Proofs("main")
    stood(proofs, 0, 5, grade=Grade.READ_BACK)
    stood(proofs, 9, 12, grade=Grade.SENT)
    (proof,) = proofs.ripe(0, set())
    assert proof.asrun.proof == 1
    assert proof.asrun.live is not None
    assert proof.asrun.live["grade"] == "sent"


def test_an_item_that_cannot_be_shown_says_why() -> None:
    proofs = Proofs("main")
    reason = Reason(ReasonCode.BAD_ARGS, "The word is wider than the board.")
    proofs.refused(KEY, XA, Precedence.ROUTINE, reason, 5 * NS)
    (proof,) = proofs.ripe(6 * NS, set())
    assert (proof.asrun.outcome, proof.asrun.reason, proof.asrun.proof) == (Outcome.REFUSED, reason, 0)
    assert proof.asrun.started_ns is None


def test_what_nobody_fetches_is_bounded() -> None:
    proofs = Proofs("main")
    for number in range(ITEMS_MAX + 50):
        stood(proofs, number, number + 1, key=OrderId(f"tin-{number}@v1"))
    assert len(proofs.ripe(10**12, set())) == ITEMS_MAX


def test_grades_as_numbers_of_the_log() -> None:
    assert [grade.proof for grade in Grade] == [0, 1, 2, 2, 3]
    assert Grade.READ_BACK.word == "read_back"
