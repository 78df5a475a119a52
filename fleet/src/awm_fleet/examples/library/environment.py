"""Larch Street Library: a public library with three branches, as its member Mara Lindqvist uses it."""

import os
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from typing import Annotated, Literal

from fastapi import Depends, FastAPI, HTTPException, Path, Query
from pydantic import BaseModel, Field
from sqlalchemy import ForeignKey, create_engine, event, func, or_, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, aliased, mapped_column, relationship, sessionmaker

SIGNED_IN_MEMBER_ID = 1
MAX_LOANS = 8
MAX_HOLDS = 6
MAX_RENEWALS = 2
MAX_OPEN_FINES_CENTS = 1000
LATE_CENTS_PER_DAY = 30
CANCELLATION_NOTICE = timedelta(hours=24)

engine = create_engine(os.environ.get("DATABASE_PATH", "sqlite:///library.db"))
new_session = sessionmaker(bind=engine, expire_on_commit=False)


@event.listens_for(engine, "connect")
def enforce_foreign_keys(connection, _record):
    """SQLite checks foreign keys only where it is asked to, connection by connection."""
    connection.execute("PRAGMA foreign_keys = ON")


# Tables. Dates are ISO text, so that they compare and sort as they read. What a row refers to is read along with it,
# and counts are columns of their query, so that a list costs one query and not one per row.


class Base(DeclarativeBase):
    """The tables of schema.sql."""


class Branch(Base):
    __tablename__ = "branches"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    address: Mapped[str]
    opens: Mapped[str]
    closes: Mapped[str]


class Member(Base):
    __tablename__ = "members"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    email: Mapped[str]
    card_number: Mapped[str]
    home_branch_id: Mapped[int] = mapped_column(ForeignKey("branches.id"))
    joined_on: Mapped[str]
    home_branch: Mapped[Branch] = relationship(lazy="joined")


class Title(Base):
    __tablename__ = "titles"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    author: Mapped[str]
    subject: Mapped[str]
    format: Mapped[str]
    published_year: Mapped[int]
    pages_or_minutes: Mapped[int]
    loan_days: Mapped[int]


class Copy(Base):
    __tablename__ = "copies"
    id: Mapped[int] = mapped_column(primary_key=True)
    title_id: Mapped[int] = mapped_column(ForeignKey("titles.id"))
    branch_id: Mapped[int] = mapped_column(ForeignKey("branches.id"))
    barcode: Mapped[str]
    status: Mapped[str]
    title: Mapped[Title] = relationship(lazy="joined")
    branch: Mapped[Branch] = relationship(lazy="joined")


class Loan(Base):
    __tablename__ = "loans"
    id: Mapped[int] = mapped_column(primary_key=True)
    copy_id: Mapped[int] = mapped_column(ForeignKey("copies.id"))
    member_id: Mapped[int] = mapped_column(ForeignKey("members.id"))
    borrowed_on: Mapped[str]
    due_on: Mapped[str]
    returned_on: Mapped[str | None]
    renewals: Mapped[int] = mapped_column(default=0)
    copy: Mapped[Copy] = relationship(lazy="joined")


class Hold(Base):
    __tablename__ = "holds"
    id: Mapped[int] = mapped_column(primary_key=True)
    title_id: Mapped[int] = mapped_column(ForeignKey("titles.id"))
    member_id: Mapped[int] = mapped_column(ForeignKey("members.id"))
    pickup_branch_id: Mapped[int] = mapped_column(ForeignKey("branches.id"))
    copy_id: Mapped[int | None] = mapped_column(ForeignKey("copies.id"))
    status: Mapped[str]
    created_at: Mapped[str]
    title: Mapped[Title] = relationship(lazy="joined")
    pickup_branch: Mapped[Branch] = relationship(lazy="joined")
    copy: Mapped[Copy | None] = relationship(lazy="joined")


class Fine(Base):
    __tablename__ = "fines"
    id: Mapped[int] = mapped_column(primary_key=True)
    member_id: Mapped[int] = mapped_column(ForeignKey("members.id"))
    loan_id: Mapped[int] = mapped_column(ForeignKey("loans.id"))
    reason: Mapped[str]
    amount_cents: Mapped[int]
    status: Mapped[str]
    created_at: Mapped[str]
    updated_at: Mapped[str]
    loan: Mapped[Loan] = relationship(lazy="joined")


class Event(Base):
    __tablename__ = "events"
    id: Mapped[int] = mapped_column(primary_key=True)
    branch_id: Mapped[int] = mapped_column(ForeignKey("branches.id"))
    name: Mapped[str]
    audience: Mapped[str]
    starts_at: Mapped[str]
    minutes: Mapped[int]
    capacity: Mapped[int]
    branch: Mapped[Branch] = relationship(lazy="joined")


class Registration(Base):
    __tablename__ = "registrations"
    id: Mapped[int] = mapped_column(primary_key=True)
    event_id: Mapped[int] = mapped_column(ForeignKey("events.id"))
    member_id: Mapped[int] = mapped_column(ForeignKey("members.id"))
    seats: Mapped[int]
    status: Mapped[str]
    created_at: Mapped[str]
    event: Mapped[Event] = relationship(lazy="joined")


class ReadingList(Base):
    __tablename__ = "reading_lists"
    id: Mapped[int] = mapped_column(primary_key=True)
    member_id: Mapped[int] = mapped_column(ForeignKey("members.id"))
    name: Mapped[str]
    created_at: Mapped[str]


class ReadingListEntry(Base):
    __tablename__ = "reading_list_entries"
    id: Mapped[int] = mapped_column(primary_key=True)
    list_id: Mapped[int] = mapped_column(ForeignKey("reading_lists.id"))
    title_id: Mapped[int] = mapped_column(ForeignKey("titles.id"))
    note: Mapped[str | None]
    created_at: Mapped[str]
    title: Mapped[Title] = relationship(lazy="joined")


# What the tools take and give.

Id = Annotated[int, Field(ge=1, le=2_147_483_647)]
Format = Literal["book", "audiobook", "film"]


class BranchView(BaseModel):
    id: int
    name: str
    address: str
    opens: str = Field(description="Opening time, HH:MM")
    closes: str = Field(description="Closing time, HH:MM")


class BranchList(BaseModel):
    items: list[BranchView]


class Profile(BaseModel):
    id: int
    name: str
    email: str
    card_number: str
    home_branch: str
    joined_on: str
    loans: int = Field(description="Items out at the moment")
    overdue_loans: int
    active_holds: int = Field(description="Holds that wait or are ready for pickup")
    open_fines_cents: int


class TitleView(BaseModel):
    id: int
    title: str
    author: str
    subject: str
    format: str
    published_year: int
    pages_or_minutes: int = Field(description="Pages of a book, minutes of an audiobook or film")
    loan_days: int
    available_copies: int = Field(description="Copies on a shelf, over all branches")


class TitlePage(BaseModel):
    total: int = Field(description="Titles that match, over all pages")
    page: int
    items: list[TitleView]


class CopyView(BaseModel):
    barcode: str
    branch_id: int
    branch: str
    status: str = Field(description="available, on_loan, reserved (set aside for a hold) or in_repair")


class TitleDetails(TitleView):
    copies: list[CopyView]
    waiting_holds: int = Field(description="Members who wait for this title")


class SubjectSummary(BaseModel):
    subject: str
    titles: int
    copies: int
    available_copies: int


class SubjectList(BaseModel):
    items: list[SubjectSummary]


class LoanView(BaseModel):
    id: int
    title_id: int
    title: str
    format: str
    barcode: str
    borrowed_on: str
    due_on: str
    returned_on: str | None
    renewals: int = Field(description=f"Times renewed; {MAX_RENEWALS} is the most")
    status: str = Field(description="current, overdue or returned")
    waiting_holds: int = Field(description="Other members who wait for this title")


class LoanPage(BaseModel):
    total: int
    items: list[LoanView]


class HoldView(BaseModel):
    id: int
    title_id: int
    title: str
    format: str
    pickup_branch_id: int
    pickup_branch: str
    status: str = Field(description="waiting, ready (at the pickup branch), collected or cancelled")
    queue_position: int | None = Field(description="1 is next; only for waiting holds")
    created_at: str


class HoldPage(BaseModel):
    total: int
    items: list[HoldView]


class FineView(BaseModel):
    id: int
    title: str = Field(description="What was borrowed")
    reason: str
    amount_cents: int
    status: str = Field(description="open, paid or waived")
    created_at: str


class FinePage(BaseModel):
    total: int
    open_cents: int = Field(description="Sum of all your open fines")
    items: list[FineView]


class EventView(BaseModel):
    id: int
    name: str
    branch_id: int
    branch: str
    audience: str
    starts_at: str
    minutes: int
    capacity: int
    free_seats: int


class EventPage(BaseModel):
    total: int
    page: int
    items: list[EventView]


class RegistrationView(BaseModel):
    id: int
    event_id: int
    event: str
    branch: str
    starts_at: str
    seats: int
    status: str = Field(description="booked or cancelled")


class RegistrationPage(BaseModel):
    total: int
    items: list[RegistrationView]


class ReadingListView(BaseModel):
    id: int
    name: str
    entries: int


class ReadingListPage(BaseModel):
    items: list[ReadingListView]


class EntryView(BaseModel):
    id: int
    title_id: int
    title: str
    author: str
    format: str
    note: str | None


class ReadingListDetails(BaseModel):
    id: int
    name: str
    items: list[EntryView]


class CheckoutRequest(BaseModel):
    barcode: str = Field(description="Barcode of the copy, as get_title lists it", examples=["B-0013"])


class HoldRequest(BaseModel):
    title_id: Id = Field(description="Title to wait for")
    pickup_branch_id: Id | None = Field(None, description="Where to collect it; your home branch when left out")


class PickupRequest(BaseModel):
    pickup_branch_id: Id = Field(description="The new pickup branch")


class RegistrationRequest(BaseModel):
    seats: int = Field(1, ge=1, le=4, description="Seats to book, yourself included")


class ReadingListRequest(BaseModel):
    name: str = Field(min_length=1, max_length=80, description="Name of the new list", examples=["Beach reads"])


class EntryRequest(BaseModel):
    title_id: Id = Field(description="Title to add")
    note: str | None = Field(None, max_length=200, description="A remark for yourself")


# Shared steps of the tools.


def open_session() -> Iterator[Session]:
    """A session for one request, closed at its end."""
    with new_session() as session:
        yield session


Database = Annotated[Session, Depends(open_session)]


def now() -> datetime:
    return datetime.now(timezone.utc)


def today() -> date:
    return now().date()


def stamp() -> str:
    return now().strftime("%Y-%m-%dT%H:%M:%SZ")


def end_of(day: date) -> str:
    """The last second of a day, as the database holds times."""
    return f"{day.isoformat()}T23:59:59Z"


def refuse(status: int, reason: str) -> HTTPException:
    return HTTPException(status_code=status, detail=reason)


def existing(session: Session, table: type[Base], key: int, what: str):
    """The row with this key, or a 404 that names what was looked for."""
    row = session.get(table, key)
    if row is None:
        raise refuse(404, f"There is no {what} with id {key}.")
    return row


def own(session: Session, table: type[Base], key: int, what: str):
    """The signed-in member's row with this key; another member's is not shown to exist."""
    row = existing(session, table, key, what)
    if row.member_id != SIGNED_IN_MEMBER_ID:
        raise refuse(404, f"You have no {what} with id {key}.")
    return row


def count(session: Session, query) -> int:
    return session.scalar(select(func.count()).select_from(query.subquery())) or 0


def copies_on_shelf(title_id, *conditions):
    """How many copies of a title are on a shelf, as an expression."""
    copies = select(func.count(Copy.id)).where(Copy.title_id == title_id, Copy.status == "available", *conditions)
    return copies.correlate_except(Copy).scalar_subquery()


def waiting_holds(title_id):
    """How many members wait for a title, as an expression."""
    holds = select(func.count(Hold.id)).where(Hold.title_id == title_id, Hold.status == "waiting")
    return holds.correlate_except(Hold).scalar_subquery()


def waiting_others(title_id):
    """How many other members wait for a title, as an expression."""
    others = (Hold.status == "waiting", Hold.member_id != SIGNED_IN_MEMBER_ID)
    return select(func.count(Hold.id)).where(Hold.title_id == title_id, *others).correlate_except(Hold).scalar_subquery()


def value(session: Session, expression) -> int:
    """What an expression comes to by itself."""
    return session.scalar(select(expression))


def active_holds():
    return select(Hold).where(Hold.member_id == SIGNED_IN_MEMBER_ID, Hold.status.in_(["waiting", "ready"]))


def current_loans():
    return select(Loan).where(Loan.member_id == SIGNED_IN_MEMBER_ID, Loan.returned_on.is_(None))


def open_fines_cents(session: Session) -> int:
    mine = (Fine.member_id == SIGNED_IN_MEMBER_ID, Fine.status == "open")
    return session.scalar(select(func.coalesce(func.sum(Fine.amount_cents), 0)).where(*mine)) or 0


def seats_taken(event_id):
    """How many seats of an event are booked, as an expression."""
    booked = (Registration.event_id == event_id, Registration.status == "booked")
    seats = select(func.coalesce(func.sum(Registration.seats), 0)).where(*booked)
    return seats.correlate_except(Registration).scalar_subquery()


def title_view(row: Title, available_copies: int) -> TitleView:
    return TitleView(
        id=row.id,
        title=row.title,
        author=row.author,
        subject=row.subject,
        format=row.format,
        published_year=row.published_year,
        pages_or_minutes=row.pages_or_minutes,
        loan_days=row.loan_days,
        available_copies=available_copies,
    )


def loan_status(row: Loan) -> str:
    if row.returned_on is not None:
        return "returned"
    return "overdue" if row.due_on < today().isoformat() else "current"


def loan_view(row: Loan, waiting_holds: int) -> LoanView:
    return LoanView(
        id=row.id,
        title_id=row.copy.title_id,
        title=row.copy.title.title,
        format=row.copy.title.format,
        barcode=row.copy.barcode,
        borrowed_on=row.borrowed_on,
        due_on=row.due_on,
        returned_on=row.returned_on,
        renewals=row.renewals,
        status=loan_status(row),
        waiting_holds=waiting_holds,
    )


def place_in_queue():
    """How many come before a hold in its queue, as an expression for queries over holds."""
    other = aliased(Hold)
    earlier = or_(other.created_at < Hold.created_at, (other.created_at == Hold.created_at) & (other.id < Hold.id))
    ahead = select(func.count(other.id)).where(other.title_id == Hold.title_id, other.status == "waiting", earlier)
    return ahead.correlate(Hold).scalar_subquery()


def hold_view(row: Hold, ahead: int) -> HoldView:
    return HoldView(
        id=row.id,
        title_id=row.title_id,
        title=row.title.title,
        format=row.title.format,
        pickup_branch_id=row.pickup_branch_id,
        pickup_branch=row.pickup_branch.name,
        status=row.status,
        queue_position=ahead + 1 if row.status == "waiting" else None,
        created_at=row.created_at,
    )


def current_loan_view(session: Session, row: Loan) -> LoanView:
    """A loan as a call leaves it."""
    return loan_view(row, value(session, waiting_others(row.copy.title_id)))


def current_hold_view(session: Session, row: Hold) -> HoldView:
    """A hold as a call leaves it."""
    return hold_view(row, session.scalar(select(place_in_queue()).select_from(Hold).where(Hold.id == row.id)))


def fine_view(row: Fine) -> FineView:
    return FineView(
        id=row.id,
        title=row.loan.copy.title.title,
        reason=row.reason,
        amount_cents=row.amount_cents,
        status=row.status,
        created_at=row.created_at,
    )


def event_view(row: Event, taken: int) -> EventView:
    return EventView(
        id=row.id,
        name=row.name,
        branch_id=row.branch_id,
        branch=row.branch.name,
        audience=row.audience,
        starts_at=row.starts_at,
        minutes=row.minutes,
        capacity=row.capacity,
        free_seats=row.capacity - taken,
    )


def registration_view(row: Registration) -> RegistrationView:
    return RegistrationView(
        id=row.id,
        event_id=row.event_id,
        event=row.event.name,
        branch=row.event.branch.name,
        starts_at=row.event.starts_at,
        seats=row.seats,
        status=row.status,
    )


def entry_view(row: ReadingListEntry) -> EntryView:
    return EntryView(
        id=row.id,
        title_id=row.title_id,
        title=row.title.title,
        author=row.title.author,
        format=row.title.format,
        note=row.note,
    )


def offer_to_next(session: Session, copy: Copy) -> None:
    """Sets a returned copy aside for the first member in the queue, or puts it back on its shelf."""
    queue = select(Hold).where(Hold.title_id == copy.title_id, Hold.status == "waiting")
    first = session.scalars(queue.order_by(Hold.created_at, Hold.id)).first()
    if first is None:
        copy.status = "available"
        return
    copy.status = "reserved"
    first.status = "ready"
    first.copy_id = copy.id


# Tools.

app = FastAPI(title="Larch Street Library", version="1.0.0")


@app.get(
    "/api/me",
    operation_id="get_me",
    tags=["account"],
    summary="Your library account",
    description="Your profile, with the number of loans and holds and what you owe. Sums are in cents.",
)
def get_me(session: Database) -> Profile:
    me = existing(session, Member, SIGNED_IN_MEMBER_ID, "member")
    return Profile(
        id=me.id,
        name=me.name,
        email=me.email,
        card_number=me.card_number,
        home_branch=me.home_branch.name,
        joined_on=me.joined_on,
        loans=count(session, current_loans()),
        overdue_loans=count(session, current_loans().where(Loan.due_on < today().isoformat())),
        active_holds=count(session, active_holds()),
        open_fines_cents=open_fines_cents(session),
    )


@app.get(
    "/api/branches",
    operation_id="list_branches",
    tags=["catalogue"],
    summary="The library's branches",
    description="All branches with address and opening hours. Use the id wherever a tool asks for a branch.",
)
def list_branches(session: Database) -> BranchList:
    rows = session.scalars(select(Branch).order_by(Branch.id))
    return BranchList(items=[BranchView.model_validate(row, from_attributes=True) for row in rows])


@app.get(
    "/api/titles",
    operation_id="search_titles",
    tags=["catalogue"],
    summary="Search the catalogue",
    description="Finds titles by words, author, subject, format or a branch that has a copy on the shelf. "
    "The same work in two formats is two titles.",
)
def search_titles(
    session: Database,
    q: Annotated[str | None, Query(description="Part of the title or the author's name")] = None,
    author: Annotated[str | None, Query(description="Part of the author's name")] = None,
    subject: Annotated[str | None, Query(description="Exact subject, for example gardening")] = None,
    format: Annotated[Format | None, Query(description="book, audiobook or film")] = None,
    available_at: Annotated[Id | None, Query(description="Id of a branch that has it on the shelf")] = None,
    sort: Annotated[Literal["title", "newest", "oldest"], Query(description="Order of the results")] = "title",
    page: Annotated[int, Query(ge=1, le=1000, description="Page to show")] = 1,
    page_size: Annotated[int, Query(ge=1, le=50, description="Titles on a page")] = 20,
) -> TitlePage:
    query = select(Title)
    if q is not None:
        query = query.where(or_(Title.title.icontains(q, autoescape=True), Title.author.icontains(q, autoescape=True)))
    if author is not None:
        query = query.where(Title.author.icontains(author, autoescape=True))
    if subject is not None:
        query = query.where(Title.subject == subject)
    if format is not None:
        query = query.where(Title.format == format)
    if available_at is not None:
        existing(session, Branch, available_at, "branch")
        shelved = select(Copy.title_id).where(Copy.branch_id == available_at, Copy.status == "available")
        query = query.where(Title.id.in_(shelved))
    orders = {"title": Title.title, "newest": Title.published_year.desc(), "oldest": Title.published_year}
    ordered = query.add_columns(copies_on_shelf(Title.id)).order_by(orders[sort], Title.id)
    rows = session.execute(ordered.offset((page - 1) * page_size).limit(page_size))
    return TitlePage(total=count(session, query), page=page, items=[title_view(row, n) for row, n in rows])


@app.get(
    "/api/titles/{title_id}",
    operation_id="get_title",
    tags=["catalogue"],
    summary="A title with its copies",
    description="Shows where each copy is, whether it is on the shelf, and how many members wait for the title.",
)
def get_title(session: Database, title_id: Annotated[Id, Path(description="Id of the title")]) -> TitleDetails:
    row = existing(session, Title, title_id, "title")
    copies = session.scalars(select(Copy).where(Copy.title_id == title_id).order_by(Copy.barcode))
    return TitleDetails(
        **title_view(row, value(session, copies_on_shelf(title_id))).model_dump(),
        waiting_holds=value(session, waiting_holds(title_id)),
        copies=[
            CopyView(barcode=copy.barcode, branch_id=copy.branch_id, branch=copy.branch.name, status=copy.status)
            for copy in copies
        ],
    )


@app.get(
    "/api/subjects",
    operation_id="summarise_subjects",
    tags=["catalogue"],
    summary="How much there is per subject",
    description="Counts titles, copies and copies on the shelf for every subject, of all branches or of one.",
)
def summarise_subjects(
    session: Database,
    branch_id: Annotated[Id | None, Query(description="Count the copies of this branch only")] = None,
) -> SubjectList:
    query = (
        select(
            Title.subject,
            func.count(Title.id.distinct()),
            func.count(Copy.id),
            func.count(Copy.id).filter(Copy.status == "available"),
        )
        .join(Copy, Copy.title_id == Title.id)
        .group_by(Title.subject)
        .order_by(Title.subject)
    )
    if branch_id is not None:
        existing(session, Branch, branch_id, "branch")
        query = query.where(Copy.branch_id == branch_id)
    rows = session.execute(query)
    return SubjectList(
        items=[SubjectSummary(subject=name, titles=n, copies=c, available_copies=a) for name, n, c, a in rows]
    )


@app.get(
    "/api/me/loans",
    operation_id="list_my_loans",
    tags=["loans"],
    summary="What you have borrowed",
    description="Your loans, soonest due first. Shows how often each was renewed and whether others wait for it.",
)
def list_my_loans(
    session: Database,
    status: Annotated[
        Literal["out", "overdue", "returned", "all"], Query(description="out: not returned yet, overdue or not")
    ] = "out",
    due_by: Annotated[date | None, Query(description="Only loans due on or before this day")] = None,
) -> LoanPage:
    query = select(Loan).where(Loan.member_id == SIGNED_IN_MEMBER_ID)
    if status in ("out", "overdue"):
        query = query.where(Loan.returned_on.is_(None))
    if status == "overdue":
        query = query.where(Loan.due_on < today().isoformat())
    if status == "returned":
        query = query.where(Loan.returned_on.is_not(None))
    if due_by is not None:
        query = query.where(Loan.due_on <= due_by.isoformat())
    counted = query.join(Copy).add_columns(waiting_others(Copy.title_id))
    rows = session.execute(counted.order_by(Loan.due_on, Loan.id)).all()
    return LoanPage(total=len(rows), items=[loan_view(row, n) for row, n in rows])


@app.post(
    "/api/me/loans",
    operation_id="check_out_copy",
    tags=["loans"],
    status_code=201,
    summary="Borrow a copy",
    description="Borrows a copy that is on the shelf or set aside for you. "
    f"Refused with {MAX_LOANS} loans, with over {MAX_OPEN_FINES_CENTS} cents of open fines, or with overdue items.",
)
def check_out_copy(session: Database, request: CheckoutRequest) -> LoanView:
    copy = session.scalars(select(Copy).where(Copy.barcode == request.barcode)).first()
    if copy is None:
        raise refuse(404, f"There is no copy with barcode {request.barcode}.")
    if count(session, current_loans().where(Loan.due_on < today().isoformat())):
        raise refuse(409, "You have overdue items; return them before you borrow more.")
    if count(session, current_loans()) >= MAX_LOANS:
        raise refuse(409, f"You have {MAX_LOANS} items out, which is the limit.")
    if open_fines_cents(session) > MAX_OPEN_FINES_CENTS:
        raise refuse(409, f"Your open fines are over {MAX_OPEN_FINES_CENTS} cents; pay some first.")
    hold = session.scalars(active_holds().where(Hold.title_id == copy.title_id)).first()
    for_me = hold is not None and hold.status == "ready" and hold.copy_id == copy.id
    if copy.status != "available" and not for_me:
        raise refuse(409, f"Copy {copy.barcode} cannot be borrowed: it is {copy.status.replace('_', ' ')}.")
    if hold is not None and (for_me or hold.status == "waiting"):
        hold.status = "collected"
        hold.copy_id = copy.id
    copy.status = "on_loan"
    loan = Loan(
        copy=copy,
        member_id=SIGNED_IN_MEMBER_ID,
        borrowed_on=today().isoformat(),
        due_on=(today() + timedelta(days=copy.title.loan_days)).isoformat(),
    )
    session.add(loan)
    session.commit()
    return current_loan_view(session, loan)


@app.post(
    "/api/me/loans/{loan_id}/renew",
    operation_id="renew_loan",
    tags=["loans"],
    summary="Renew a loan",
    description="Adds one loan period to the due date. "
    f"Refused after {MAX_RENEWALS} renewals, when the loan is overdue, or when another member waits for the title.",
)
def renew_loan(session: Database, loan_id: Annotated[Id, Path(description="Id of your loan")]) -> LoanView:
    loan = own(session, Loan, loan_id, "loan")
    if loan.returned_on is not None:
        raise refuse(409, "This loan was returned already.")
    if loan.renewals >= MAX_RENEWALS:
        raise refuse(409, f"This loan was renewed {MAX_RENEWALS} times, which is the limit.")
    if loan.due_on < today().isoformat():
        raise refuse(409, f"This loan was due on {loan.due_on}; overdue items cannot be renewed.")
    if value(session, waiting_others(loan.copy.title_id)):
        raise refuse(409, "Another member is waiting for this title, so it cannot be renewed.")
    loan.due_on = (date.fromisoformat(loan.due_on) + timedelta(days=loan.copy.title.loan_days)).isoformat()
    loan.renewals += 1
    session.commit()
    return current_loan_view(session, loan)


@app.post(
    "/api/me/loans/{loan_id}/return",
    operation_id="return_loan",
    tags=["loans"],
    summary="Return a loan",
    description="Hands the copy back; the next member in the queue gets it. "
    f"A late return costs {LATE_CENTS_PER_DAY} cents a day.",
)
def return_loan(session: Database, loan_id: Annotated[Id, Path(description="Id of your loan")]) -> LoanView:
    loan = own(session, Loan, loan_id, "loan")
    if loan.returned_on is not None:
        raise refuse(409, f"This loan was returned on {loan.returned_on}.")
    loan.returned_on = today().isoformat()
    late = (today() - date.fromisoformat(loan.due_on)).days
    if late > 0:
        session.add(
            Fine(
                member_id=loan.member_id,
                loan_id=loan.id,
                reason=f"Returned {late} days late" if late > 1 else "Returned 1 day late",
                amount_cents=late * LATE_CENTS_PER_DAY,
                status="open",
                created_at=stamp(),
                updated_at=stamp(),
            )
        )
    offer_to_next(session, loan.copy)
    session.commit()
    return current_loan_view(session, loan)


@app.get(
    "/api/me/holds",
    operation_id="list_my_holds",
    tags=["holds"],
    summary="What you wait for",
    description="Your holds, oldest first, with your place in each queue.",
)
def list_my_holds(
    session: Database,
    status: Annotated[
        Literal["active", "waiting", "ready", "all"], Query(description="active: waiting or ready for pickup")
    ] = "active",
) -> HoldPage:
    query = active_holds() if status == "active" else select(Hold).where(Hold.member_id == SIGNED_IN_MEMBER_ID)
    if status in ("waiting", "ready"):
        query = query.where(Hold.status == status)
    rows = session.execute(query.add_columns(place_in_queue()).order_by(Hold.created_at, Hold.id)).all()
    return HoldPage(total=len(rows), items=[hold_view(row, ahead) for row, ahead in rows])


@app.post(
    "/api/me/holds",
    operation_id="place_hold",
    tags=["holds"],
    status_code=201,
    summary="Wait for a title",
    description=f"Puts you in the queue for a title. Refused with {MAX_HOLDS} active holds, when you have the title "
    "or wait for it already, and when a copy is on the shelf of the pickup branch.",
)
def place_hold(session: Database, request: HoldRequest) -> HoldView:
    title = existing(session, Title, request.title_id, "title")
    me = existing(session, Member, SIGNED_IN_MEMBER_ID, "member")
    branch = existing(session, Branch, request.pickup_branch_id or me.home_branch_id, "branch")
    if count(session, active_holds().where(Hold.title_id == title.id)):
        raise refuse(409, f"You already have a hold on {title.title}.")
    if count(session, current_loans().join(Copy).where(Copy.title_id == title.id)):
        raise refuse(409, f"You have {title.title} on loan.")
    if count(session, active_holds()) >= MAX_HOLDS:
        raise refuse(409, f"You have {MAX_HOLDS} active holds, which is the limit; cancel one first.")
    if value(session, copies_on_shelf(title.id, Copy.branch_id == branch.id)):
        raise refuse(409, f"A copy is on the shelf at {branch.name}; borrow it there.")
    hold = Hold(
        title=title,
        member_id=SIGNED_IN_MEMBER_ID,
        pickup_branch=branch,
        status="waiting",
        created_at=stamp(),
    )
    session.add(hold)
    session.commit()
    return current_hold_view(session, hold)


@app.post(
    "/api/me/holds/{hold_id}/pickup",
    operation_id="change_hold_pickup",
    tags=["holds"],
    summary="Collect a hold elsewhere",
    description="Changes the pickup branch of a waiting hold; your place in the queue stays.",
)
def change_hold_pickup(
    session: Database, hold_id: Annotated[Id, Path(description="Id of your hold")], request: PickupRequest
) -> HoldView:
    hold = own(session, Hold, hold_id, "hold")
    branch = existing(session, Branch, request.pickup_branch_id, "branch")
    if hold.status != "waiting":
        raise refuse(409, f"This hold is {hold.status}; only waiting holds can be moved.")
    hold.pickup_branch = branch
    session.commit()
    return current_hold_view(session, hold)


@app.post(
    "/api/me/holds/{hold_id}/cancel",
    operation_id="cancel_hold",
    tags=["holds"],
    summary="Stop waiting for a title",
    description="Cancels a waiting or ready hold. A copy that was set aside goes to the next member.",
)
def cancel_hold(session: Database, hold_id: Annotated[Id, Path(description="Id of your hold")]) -> HoldView:
    hold = own(session, Hold, hold_id, "hold")
    if hold.status not in ("waiting", "ready"):
        raise refuse(409, f"This hold is {hold.status} already.")
    hold.status = "cancelled"
    if hold.copy is not None:
        offer_to_next(session, hold.copy)
    session.commit()
    return current_hold_view(session, hold)


@app.get(
    "/api/me/fines",
    operation_id="list_my_fines",
    tags=["fines"],
    summary="Your fines",
    description="Your fines, newest first, and the sum of the open ones in cents.",
)
def list_my_fines(
    session: Database,
    status: Annotated[Literal["open", "paid", "waived", "all"], Query(description="Which fines")] = "open",
    sort: Annotated[Literal["newest", "largest"], Query(description="Order of the results")] = "newest",
) -> FinePage:
    query = select(Fine).where(Fine.member_id == SIGNED_IN_MEMBER_ID)
    if status != "all":
        query = query.where(Fine.status == status)
    order = Fine.created_at.desc() if sort == "newest" else Fine.amount_cents.desc()
    rows = session.scalars(query.order_by(order, Fine.id))
    return FinePage(
        total=count(session, query), open_cents=open_fines_cents(session), items=[fine_view(row) for row in rows]
    )


@app.post(
    "/api/me/fines/{fine_id}/pay",
    operation_id="pay_fine",
    tags=["fines"],
    summary="Pay a fine",
    description="Pays an open fine in full with the card on file.",
)
def pay_fine(session: Database, fine_id: Annotated[Id, Path(description="Id of your fine")]) -> FineView:
    fine = own(session, Fine, fine_id, "fine")
    if fine.status != "open":
        raise refuse(409, f"This fine is {fine.status} already.")
    fine.status = "paid"
    fine.updated_at = stamp()
    session.commit()
    return fine_view(fine)


@app.get(
    "/api/events",
    operation_id="list_events",
    tags=["events"],
    summary="Events at the library",
    description="Coming events, soonest first, with the seats that are left.",
)
def list_events(
    session: Database,
    q: Annotated[str | None, Query(description="Part of the event's name")] = None,
    branch_id: Annotated[Id | None, Query(description="Only this branch")] = None,
    audience: Annotated[
        Literal["children", "families", "adults"] | None, Query(description="Whom the event is for")
    ] = None,
    from_day: Annotated[date | None, Query(description="First day; today when left out")] = None,
    to_day: Annotated[date | None, Query(description="Last day")] = None,
    page: Annotated[int, Query(ge=1, le=1000, description="Page to show")] = 1,
    page_size: Annotated[int, Query(ge=1, le=50, description="Events on a page")] = 20,
) -> EventPage:
    query = select(Event).where(Event.starts_at >= (from_day or today()).isoformat())
    if to_day is not None:
        query = query.where(Event.starts_at <= end_of(to_day))
    if q is not None:
        query = query.where(Event.name.icontains(q, autoescape=True))
    if branch_id is not None:
        existing(session, Branch, branch_id, "branch")
        query = query.where(Event.branch_id == branch_id)
    if audience is not None:
        query = query.where(Event.audience == audience)
    ordered = query.add_columns(seats_taken(Event.id)).order_by(Event.starts_at, Event.id)
    rows = session.execute(ordered.offset((page - 1) * page_size).limit(page_size))
    return EventPage(total=count(session, query), page=page, items=[event_view(row, taken) for row, taken in rows])


@app.post(
    "/api/events/{event_id}/registrations",
    operation_id="register_for_event",
    tags=["events"],
    status_code=201,
    summary="Sign up for an event",
    description="Books up to four seats. Refused when too few seats are left, when you are signed up already, "
    "and for events that have begun.",
)
def register_for_event(
    session: Database, event_id: Annotated[Id, Path(description="Id of the event")], request: RegistrationRequest
) -> RegistrationView:
    happening = existing(session, Event, event_id, "event")
    if happening.starts_at <= stamp():
        raise refuse(409, "This event has begun or is over.")
    mine = select(Registration.id).where(
        Registration.event_id == event_id,
        Registration.member_id == SIGNED_IN_MEMBER_ID,
        Registration.status == "booked",
    )
    if count(session, mine):
        raise refuse(409, "You are signed up for this event already; cancel that registration first.")
    left = happening.capacity - value(session, seats_taken(event_id))
    if left < request.seats:
        raise refuse(409, f"Only {left} of {happening.capacity} seats are left.")
    registration = Registration(
        event=happening,
        member_id=SIGNED_IN_MEMBER_ID,
        seats=request.seats,
        status="booked",
        created_at=stamp(),
    )
    session.add(registration)
    session.commit()
    return registration_view(registration)


@app.get(
    "/api/me/registrations",
    operation_id="list_my_registrations",
    tags=["events"],
    summary="Events you signed up for",
    description="Your registrations, soonest event first; past events only when asked for.",
)
def list_my_registrations(
    session: Database,
    include_past: Annotated[bool, Query(description="Also events that are over, and cancelled ones")] = False,
) -> RegistrationPage:
    query = select(Registration).join(Event).where(Registration.member_id == SIGNED_IN_MEMBER_ID)
    if not include_past:
        query = query.where(Event.starts_at > stamp(), Registration.status == "booked")
    rows = session.scalars(query.order_by(Event.starts_at, Registration.id))
    return RegistrationPage(total=count(session, query), items=[registration_view(row) for row in rows])


@app.post(
    "/api/me/registrations/{registration_id}/cancel",
    operation_id="cancel_registration",
    tags=["events"],
    summary="Give up your seats at an event",
    description="Cancels a registration, up to 24 hours before the event.",
)
def cancel_registration(
    session: Database, registration_id: Annotated[Id, Path(description="Id of your registration")]
) -> RegistrationView:
    registration = own(session, Registration, registration_id, "registration")
    if registration.status != "booked":
        raise refuse(409, "This registration is cancelled already.")
    if datetime.fromisoformat(registration.event.starts_at) - now() < CANCELLATION_NOTICE:
        raise refuse(409, "Registrations can be cancelled up to 24 hours before the event.")
    registration.status = "cancelled"
    session.commit()
    return registration_view(registration)


@app.get(
    "/api/me/reading-lists",
    operation_id="list_my_reading_lists",
    tags=["reading lists"],
    summary="Your reading lists",
    description="Names of your reading lists and how many titles are on each.",
)
def list_my_reading_lists(session: Database) -> ReadingListPage:
    entries = select(func.count(ReadingListEntry.id)).where(ReadingListEntry.list_id == ReadingList.id)
    rows = session.execute(
        select(ReadingList, entries.scalar_subquery())
        .where(ReadingList.member_id == SIGNED_IN_MEMBER_ID)
        .order_by(ReadingList.name)
    )
    return ReadingListPage(items=[ReadingListView(id=row.id, name=row.name, entries=n) for row, n in rows])


@app.post(
    "/api/me/reading-lists",
    operation_id="create_reading_list",
    tags=["reading lists"],
    status_code=201,
    summary="Start a reading list",
    description="Makes an empty reading list. You cannot have two lists of one name.",
)
def create_reading_list(session: Database, request: ReadingListRequest) -> ReadingListView:
    name = request.name.strip()
    if not name:
        raise refuse(422, "A reading list needs a name.")
    mine = select(ReadingList.id).where(ReadingList.member_id == SIGNED_IN_MEMBER_ID, ReadingList.name == name)
    if count(session, mine):
        raise refuse(409, f"You already have a list called {name}.")
    row = ReadingList(member_id=SIGNED_IN_MEMBER_ID, name=name, created_at=stamp())
    session.add(row)
    session.commit()
    return ReadingListView(id=row.id, name=row.name, entries=0)


@app.get(
    "/api/me/reading-lists/{list_id}",
    operation_id="get_reading_list",
    tags=["reading lists"],
    summary="A reading list with its titles",
    description="The titles of one of your lists, in the order they were added.",
)
def get_reading_list(
    session: Database, list_id: Annotated[Id, Path(description="Id of your reading list")]
) -> ReadingListDetails:
    row = own(session, ReadingList, list_id, "reading list")
    entries = session.scalars(
        select(ReadingListEntry).where(ReadingListEntry.list_id == list_id).order_by(ReadingListEntry.id)
    )
    return ReadingListDetails(id=row.id, name=row.name, items=[entry_view(entry) for entry in entries])


@app.post(
    "/api/me/reading-lists/{list_id}/entries",
    operation_id="add_to_reading_list",
    tags=["reading lists"],
    status_code=201,
    summary="Add a title to a reading list",
    description="Adds a title, with a note if you like. A title can be on a list once.",
)
def add_to_reading_list(
    session: Database, list_id: Annotated[Id, Path(description="Id of your reading list")], request: EntryRequest
) -> EntryView:
    row = own(session, ReadingList, list_id, "reading list")
    title = existing(session, Title, request.title_id, "title")
    same = select(ReadingListEntry.id).where(ReadingListEntry.list_id == list_id, ReadingListEntry.title_id == title.id)
    if count(session, same):
        raise refuse(409, f"{title.title} is on {row.name} already.")
    note = (request.note or "").strip() or None
    entry = ReadingListEntry(list_id=row.id, title=title, note=note, created_at=stamp())
    session.add(entry)
    session.commit()
    return entry_view(entry)


@app.delete(
    "/api/me/reading-lists/{list_id}/entries/{entry_id}",
    operation_id="remove_from_reading_list",
    tags=["reading lists"],
    summary="Take a title off a reading list",
    description="Removes an entry, named by its id (not the title's), from one of your lists and returns it.",
)
def remove_from_reading_list(
    session: Database,
    list_id: Annotated[Id, Path(description="Id of your reading list")],
    entry_id: Annotated[Id, Path(description="Id of the entry, as get_reading_list gives it")],
) -> EntryView:
    row = own(session, ReadingList, list_id, "reading list")
    entry = existing(session, ReadingListEntry, entry_id, "entry")
    if entry.list_id != row.id:
        raise refuse(404, f"{row.name} has no entry with id {entry_id}.")
    removed = entry_view(entry)
    session.delete(entry)
    session.commit()
    return removed


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, host=os.environ.get("HOST", "127.0.0.1"), port=int(os.environ.get("PORT", "8000")))
