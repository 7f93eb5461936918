"""The admin pages at /admin: in no menu, and not there at all unless results/arena.yaml has an `admin` section.

Who asks is settled before anything is drawn, and nothing is done in a callback (those run before the page does): a script that is sent
straight to this page by a forged message meets the same gate.
"""

import html
from datetime import timedelta

import streamlit as st

from arena import operators
from arena.audit_command import apply_findings, rate_again
from arena.battle import Arena, current
from arena.decisions import Decision, Standing, decide, standings
from arena.errors import ArenaError
from arena.ledger import ledger_rows
from arena.settings import Admin
from arena.views import frame
from arena.votes import now
from serving.documents import parse_document
from serving.errors import BakeoffError

SECTIONS = ("Endpoints", "Votes", "Lately", "Ledger")
_TOKEN = "operator-pass"


def offered() -> bool:
    """Whether this process has an arena whose settings let somebody administer it."""
    try:
        return current().settings.admin is not None
    except ArenaError:
        return False


def page() -> None:
    """Ask who it is; then the chosen section."""
    arena = current()
    admin = arena.settings.admin
    if admin is None:
        frame.heading("Nothing here", "There is no such page.")
        return
    who = operators.who_holds(st.session_state.get(_TOKEN)) or _by_login(admin)
    if who is None:
        _ask(admin)
        return
    frame.heading("Administration", f"You are {html.escape(who)}. Every change is kept with your name and read back from the store.")
    with st.container(horizontal=True, horizontal_alignment="distribute"):
        section = st.segmented_control("Section", SECTIONS, default=SECTIONS[0], key="section", required=True, label_visibility="collapsed")
        if st.button("Leave", type="tertiary", key="leave-admin"):
            operators.leave(st.session_state.pop(_TOKEN, None))
            st.rerun()
    if told := st.session_state.pop("told", None):
        st.success(told)
    arena.refresh()
    {"Endpoints": _endpoints, "Votes": _votes, "Lately": _lately, "Ledger": _ledger}[str(section)](arena, who)


def _by_login(admin: Admin) -> str | None:
    if (admin.emails or admin.role) and st.user.get("is_logged_in") and (token := operators.signed_in(admin, st.user.to_dict())):
        st.session_state[_TOKEN] = token
        return operators.who_holds(token)
    return None


def _ask(admin: Admin) -> None:
    frame.heading("Administration", "For the operators of this arena.")
    address = _address()
    if admin.password_hash is not None:
        with st.form("enter", clear_on_submit=True):
            password = st.text_input("Password", type="password", key="admin-password")
            if st.form_submit_button("Enter", type="primary"):
                early = operators.wait_s(address)
                if early == 0 and (token := operators.try_password(admin, password, address)):
                    st.session_state[_TOKEN] = token
                    st.rerun()
                wait = operators.wait_s(address)
                st.error(f"{'Too soon.' if early else 'That is not the password.'} The next try is taken in {wait:.0f} s.")
    if admin.emails or admin.role:
        st.button("Sign in", on_click=st.login, key="sign-in")


def _address() -> str:
    return st.context.ip_address or "this machine"


def _endpoints(arena: Arena, who: str) -> None:
    tallies = arena.store.vote_counts() if arena.policy.counts_votes else ()
    rows, resting = standings(arena.store, arena.stated, arena.catalogue, tallies=tallies), arena.resting()
    since = (now() - timedelta(days=1)).replace(tzinfo=None)
    lately = {row[0]: row[1:] for row in arena.store.rows("lately", since)}
    st.html(
        f'<p class="note">Draws are {arena.policy.kind}. “Next battle” is the chance to be on one of its two sides; drawn and failed are '
        "of the last 24 hours. A value without a source is the default.</p>"
    )
    st.dataframe(
        [
            {
                "endpoint": row.endpoint,
                "state": row.state + (" (rests)" if row.endpoint in resting else ""),
                "said by": ": ".join(part for part in (row.said_by, row.reason) if part),
                "next battle": row.share,
                "weight": row.weight,
                "weight from": row.weight_from,
                "boost": row.boost,
                "boost from": row.boost_from,
                "drawn": lately.get(row.endpoint, (0, 0))[0],
                "failed": lately.get(row.endpoint, (0, 0))[1],
            }
            for row in rows
        ],
        column_config={"next battle": st.column_config.NumberColumn(format="percent")},
        hide_index=True,
    )
    if rows:
        _decide(arena, who, {row.endpoint: row for row in rows})


def _decide(arena: Arena, who: str, rows: dict[str, Standing]) -> None:
    st.html("<h3>Decide</h3>")
    name = st.selectbox("Endpoint", sorted(rows), key="endpoint")
    row = rows[name]
    if row.state == "withdrawn":
        st.html(f'<p class="note">{html.escape(name)} was withdrawn for good: {html.escape(row.reason)}.</p>')
        return
    reason = st.text_input("Reason", key="reason", max_chars=300)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if st.button("Switch on" if row.state == "off" else "Switch off", key="switch"):
            _keep(arena, who, name, matter="off", value=float(row.state != "off"), reason=reason)
        if st.button("End outage" if row.state == "outage" else "Outage", key="outage"):
            _keep(arena, who, name, matter="outage", value=float(row.state != "outage"), reason=reason)
        weight = st.number_input("Weight", 0.001, 1000.0, row.weight, key=f"weight-{name}", width=120)
        if st.button("Set weight", key="set-weight"):
            _keep(arena, who, name, matter="weight", value=weight, reason=reason)
        boost = st.number_input("Boost", 0.001, 1000.0, row.boost, key=f"boost-{name}", width=120)
        if st.button("Set boost", key="set-boost"):
            _keep(arena, who, name, matter="boost", value=boost, reason=reason)
    with st.expander("Withdraw for good"):
        st.html('<p class="note">Its votes, its place on the board and its line in the ledger stay. Its id never returns.</p>')
        typed = st.text_input("Type the endpoint's id to confirm", key="confirm")
        if st.button("Withdraw", key="withdraw", disabled=typed != name or not reason.strip()):
            _keep(arena, who, name, matter="withdrawn", value=1.0, reason=reason)


def _keep(arena: Arena, who: str, endpoint: str, **said: object) -> None:
    try:
        decision = parse_document({"endpoint": endpoint, "by": who, **said}, Decision, where="decision")
        kept = decide(arena.store, decision, known=arena.catalogue)
    except BakeoffError as error:
        st.error(str(error))
        return
    value = "" if kept.value is None else f" {kept.value:g}"
    st.session_state.told = f"Kept, read back from the store: {kept.endpoint}, {kept.matter}{value}, {kept.at:%H:%M:%S} UTC."
    st.rerun()


def _votes(arena: Arena, who: str) -> None:
    from arena.audit import audit, audit_votes_of

    counts, flags = arena.store.counts(), arena.store.flags()
    st.html(
        f'<p class="note">{counts.n_votes:,} votes; {counts.n_unrated:,} are not rated, {len(flags):,} of them flagged by an audit.</p>'
    )
    with st.container(horizontal=True):
        if st.button("Run the audit", key="audit"):
            with st.spinner("Auditing…"):
                st.session_state.findings = audit(audit_votes_of(arena.store))
        findings = st.session_state.get("findings")
        if st.button("Unrate what it flagged", key="apply", disabled=findings is None) and findings is not None:
            n_flagged = apply_findings(arena.store, findings)
            _told(f"{n_flagged:,} votes are flagged and no longer rated, read back from the store.")
        if st.button("Rate all flagged votes again", key="revert", disabled=not flags):
            n_back = rate_again(arena.store)
            _told(f"{n_back:,} votes count again; {len(arena.store.flags()):,} flags remain in the store.")
    if findings is not None:
        st.html(f"<h3>{len(findings.flags):,} findings</h3>")
        columns = [{"voter": row.voter_id, "reason": row.reason, "why": row.why, "votes": len(row.vote_ids)} for row in findings.flags]
        st.dataframe(columns, hide_index=True) if columns else frame.empty("Nothing stands out.", "No vote or voter was flagged.")
    if flags:
        st.html("<h3>Flagged votes</h3>")
        st.dataframe([{"vote": vote, "reason": reason} for vote, reason in list(flags.items())[:1000]], hide_index=True)


def _told(words: str) -> None:
    st.session_state.pop("findings", None)
    st.session_state.told = words
    st.rerun()


def _lately(arena: Arena, who: str) -> None:
    midnight = now().replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    recorded = {name for name, endpoint in arena.catalogue.items() if endpoint.wire == "recorded"}
    spent = [row for row in arena.store.rows("lately", midnight) if row[0] not in recorded]
    total, unpriced = sum(row[3] for row in spent), sum(row[4] for row in spent)
    more = f", and {unpriced:,} answers whose price nobody knows" if unpriced else ""
    st.html(f"<h3>Spent today (UTC): ${total:,.4f}{more}</h3>")
    if spent:
        st.dataframe([{"endpoint": row[0], "answers": row[1], "failed": row[2], "dollars": row[3]} for row in spent], hide_index=True)
    st.html("<h3>Answers that failed in the last 24 hours</h3>")
    failed = arena.store.rows("failures_since", (now() - timedelta(days=1)).replace(tzinfo=None))
    if failed:
        names = ("at", "battle", "endpoint", "status", "error")
        st.dataframe([dict(zip(names, row, strict=True)) for row in failed], hide_index=True)
    else:
        frame.empty("None.", "Every side of every battle answered.")


def _ledger(arena: Arena, who: str) -> None:
    rows = ledger_rows(arena.store)
    st.dataframe(rows, hide_index=True) if rows else frame.empty("The ledger is empty.", "The first battle opens it.")
