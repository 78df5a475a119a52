"""Harbour Lane Clinic: the front desk of a small clinic, as its receptionist Ada Brennan runs it."""

import os
from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta, timezone
from typing import Annotated, Literal

from fastapi import Depends, FastAPI, HTTPException, Path, Query
from pydantic import BaseModel, Field
from sqlalchemy import ForeignKey, case, create_engine, event, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, sessionmaker

SIGNED_IN_STAFF_ID = 1
SLOT_MINUTES = 15
LATE_CANCELLATION_CENTS = 2000
LATE_CANCELLATION = timedelta(hours=24)
PAYMENT_TERM = timedelta(days=14)
MAX_OVERDUE_CENTS = 1500
TAKES_TIME = ("booked", "checked_in", "completed")

engine = create_engine(os.environ.get("DATABASE_PATH", "sqlite:///clinic.db"))
new_session = sessionmaker(bind=engine, expire_on_commit=False)


@event.listens_for(engine, "connect")
def enforce_foreign_keys(connection, _record):
    """SQLite checks foreign keys only where it is asked to, connection by connection."""
    connection.execute("PRAGMA foreign_keys = ON")


# Tables. Times are ISO text in UTC, so that they compare and sort as they read.


class Base(DeclarativeBase):
    """The tables of schema.sql."""


class Staff(Base):
    __tablename__ = "staff"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    role: Mapped[str]
    email: Mapped[str]


class Practitioner(Base):
    __tablename__ = "practitioners"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    specialty: Mapped[str]


class Service(Base):
    __tablename__ = "services"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    specialty: Mapped[str]
    minutes: Mapped[int]
    price_cents: Mapped[int]
    needs_referral: Mapped[bool]


class Room(Base):
    __tablename__ = "rooms"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    floor: Mapped[int]


class Patient(Base):
    __tablename__ = "patients"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    born_on: Mapped[str]
    phone: Mapped[str]
    email: Mapped[str | None]
    created_at: Mapped[str]
    updated_at: Mapped[str]


class Shift(Base):
    __tablename__ = "shifts"
    id: Mapped[int] = mapped_column(primary_key=True)
    practitioner_id: Mapped[int] = mapped_column(ForeignKey("practitioners.id"))
    room_id: Mapped[int] = mapped_column(ForeignKey("rooms.id"))
    starts_at: Mapped[str]
    ends_at: Mapped[str]
    practitioner: Mapped[Practitioner] = relationship(lazy="joined")
    room: Mapped[Room] = relationship(lazy="joined")


class Referral(Base):
    __tablename__ = "referrals"
    id: Mapped[int] = mapped_column(primary_key=True)
    patient_id: Mapped[int] = mapped_column(ForeignKey("patients.id"))
    specialty: Mapped[str]
    issued_by: Mapped[str]
    expires_on: Mapped[str]
    visits_left: Mapped[int]


class Appointment(Base):
    __tablename__ = "appointments"
    id: Mapped[int] = mapped_column(primary_key=True)
    patient_id: Mapped[int] = mapped_column(ForeignKey("patients.id"))
    practitioner_id: Mapped[int] = mapped_column(ForeignKey("practitioners.id"))
    service_id: Mapped[int] = mapped_column(ForeignKey("services.id"))
    room_id: Mapped[int] = mapped_column(ForeignKey("rooms.id"))
    referral_id: Mapped[int | None] = mapped_column(ForeignKey("referrals.id"))
    starts_at: Mapped[str]
    ends_at: Mapped[str]
    status: Mapped[str]
    created_at: Mapped[str]
    updated_at: Mapped[str]
    patient: Mapped[Patient] = relationship(lazy="joined")
    practitioner: Mapped[Practitioner] = relationship(lazy="joined")
    service: Mapped[Service] = relationship(lazy="joined")
    room: Mapped[Room] = relationship(lazy="joined")
    referral: Mapped[Referral | None] = relationship(lazy="joined")


class WaitlistEntry(Base):
    __tablename__ = "waitlist_entries"
    id: Mapped[int] = mapped_column(primary_key=True)
    patient_id: Mapped[int] = mapped_column(ForeignKey("patients.id"))
    service_id: Mapped[int] = mapped_column(ForeignKey("services.id"))
    earliest_on: Mapped[str]
    latest_on: Mapped[str]
    urgent: Mapped[bool]
    status: Mapped[str]
    created_at: Mapped[str]
    patient: Mapped[Patient] = relationship(lazy="joined")
    service: Mapped[Service] = relationship(lazy="joined")


class Invoice(Base):
    __tablename__ = "invoices"
    id: Mapped[int] = mapped_column(primary_key=True)
    patient_id: Mapped[int] = mapped_column(ForeignKey("patients.id"))
    appointment_id: Mapped[int] = mapped_column(ForeignKey("appointments.id"))
    reason: Mapped[str]
    amount_cents: Mapped[int]
    due_on: Mapped[str]
    status: Mapped[str]
    created_at: Mapped[str]
    updated_at: Mapped[str]
    patient: Mapped[Patient] = relationship(lazy="joined")


class Payment(Base):
    __tablename__ = "payments"
    id: Mapped[int] = mapped_column(primary_key=True)
    invoice_id: Mapped[int] = mapped_column(ForeignKey("invoices.id"))
    amount_cents: Mapped[int]
    method: Mapped[str]
    created_at: Mapped[str]


# What the tools take and give.

Id = Annotated[int, Field(ge=1, le=2_147_483_647)]
Specialty = Literal["general", "physiotherapy", "imaging"]
AppointmentStatus = Literal["booked", "checked_in", "completed", "cancelled", "missed"]


class StaffView(BaseModel):
    id: int
    name: str
    role: str
    email: str


class PractitionerView(BaseModel):
    id: int
    name: str
    specialty: str


class PractitionerList(BaseModel):
    items: list[PractitionerView]


class ServiceView(BaseModel):
    id: int
    name: str
    specialty: str = Field(description="Only practitioners of this specialty give the service")
    minutes: int
    price_cents: int
    needs_referral: bool


class ServiceList(BaseModel):
    items: list[ServiceView]


class PatientView(BaseModel):
    id: int
    name: str
    born_on: str
    phone: str
    email: str | None


class PatientPage(BaseModel):
    total: int
    page: int
    items: list[PatientView]


class ReferralView(BaseModel):
    id: int
    specialty: str
    issued_by: str
    expires_on: str = Field(description="Last day on which it counts")
    visits_left: int


class PatientDetails(PatientView):
    owed_cents: int = Field(description="What is open on all invoices")
    overdue_cents: int = Field(description="What is open on invoices past their due date")
    referrals: list[ReferralView]


class ShiftView(BaseModel):
    id: int
    practitioner_id: int
    practitioner: str
    room: str
    starts_at: str
    ends_at: str


class ShiftList(BaseModel):
    items: list[ShiftView]


class Slot(BaseModel):
    practitioner_id: int
    practitioner: str
    room: str
    starts_at: str
    ends_at: str


class SlotList(BaseModel):
    items: list[Slot]


class AppointmentView(BaseModel):
    id: int
    patient_id: int
    patient: str
    practitioner_id: int
    practitioner: str
    service_id: int
    service: str
    room: str
    starts_at: str
    ends_at: str
    status: str = Field(description="booked, checked_in, completed, cancelled or missed")


class AppointmentPage(BaseModel):
    total: int
    page: int
    items: list[AppointmentView]


class WaitlistView(BaseModel):
    id: int
    patient_id: int
    patient: str
    service_id: int
    service: str
    earliest_on: str
    latest_on: str
    urgent: bool
    status: str = Field(description="waiting, booked or withdrawn")
    created_at: str


class WaitlistPage(BaseModel):
    total: int
    items: list[WaitlistView]


class InvoiceView(BaseModel):
    id: int
    patient_id: int
    patient: str
    reason: str
    amount_cents: int
    open_cents: int = Field(description="What is still to be paid")
    due_on: str
    status: str = Field(description="open, paid or void")


class InvoicePage(BaseModel):
    total: int
    open_cents: int = Field(description="What is still to be paid on all of them")
    items: list[InvoiceView]


class WorkloadView(BaseModel):
    practitioner_id: int
    practitioner: str
    appointments: int
    booked_minutes: int
    shift_minutes: int
    share_booked: float = Field(description="Booked minutes by shift minutes, 0 to 1")


class WorkloadList(BaseModel):
    items: list[WorkloadView]


class PatientRequest(BaseModel):
    name: str = Field(min_length=1, max_length=100, description="Full name")
    born_on: date = Field(description="Date of birth")
    phone: str = Field(min_length=3, max_length=30, description="Phone number")
    email: str | None = Field(None, max_length=100, description="E-mail address")


class ContactRequest(BaseModel):
    phone: str | None = Field(None, min_length=3, max_length=30, description="New phone number")
    email: str | None = Field(None, min_length=3, max_length=100, description="New e-mail address")


class ReferralRequest(BaseModel):
    specialty: Literal["physiotherapy", "imaging"] = Field(description="What the patient is referred for")
    issued_by: str = Field(min_length=1, max_length=100, description="The doctor who wrote it")
    expires_on: date = Field(description="Last day on which it counts")
    visits: int = Field(ge=1, le=20, description="How many visits it covers")


class BookingRequest(BaseModel):
    patient_id: Id = Field(description="Who comes")
    service_id: Id = Field(description="What for")
    practitioner_id: Id = Field(description="Whom they see")
    starts_at: datetime = Field(description="Start, UTC", examples=["2026-03-05T10:00:00Z"])
    waitlist_entry_id: Id | None = Field(None, description="The patient's waiting list entry that this settles")


class RescheduleRequest(BaseModel):
    starts_at: datetime = Field(description="New start, UTC", examples=["2026-03-05T10:00:00Z"])
    practitioner_id: Id | None = Field(None, description="Another practitioner; the same one when left out")


class CancelRequest(BaseModel):
    wanted_by: Literal["patient", "clinic"] = Field(description="Who cancels; the clinic never charges for its own")


class WaitlistRequest(BaseModel):
    patient_id: Id = Field(description="Who waits")
    service_id: Id = Field(description="What for")
    earliest_on: date = Field(description="First day that suits")
    latest_on: date = Field(description="Last day that suits")
    urgent: bool = Field(False, description="Urgent entries are called first")


class PaymentRequest(BaseModel):
    amount_cents: int | None = Field(None, ge=1, le=10_000_000, description="Amount; all that is open when left out")
    method: Literal["card", "cash", "transfer"] = Field(description="How it was paid")


# Shared steps of the tools.


async def open_session() -> AsyncIterator[Session]:
    """A session for one request, closed at its end."""
    with new_session() as session:
        yield session


Database = Annotated[Session, Depends(open_session)]


def now() -> datetime:
    return datetime.now(timezone.utc)


def today() -> date:
    return now().date()


def text(moment: datetime) -> str:
    """A moment as the database holds it; one without a zone is UTC."""
    if moment.tzinfo is not None:
        moment = moment.astimezone(timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


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


def count(session: Session, query) -> int:
    return session.scalar(select(func.count()).select_from(query.subquery())) or 0


def open_cents():
    """What is still to be paid on an invoice, as an expression for queries over invoices."""
    paid = select(func.coalesce(func.sum(Payment.amount_cents), 0)).where(Payment.invoice_id == Invoice.id)
    return case((Invoice.status == "open", Invoice.amount_cents - paid.scalar_subquery()), else_=0)


def owed_cents(session: Session, patient_id: int, *, overdue_only: bool = False) -> int:
    query = select(func.coalesce(func.sum(open_cents()), 0)).where(Invoice.patient_id == patient_id)
    if overdue_only:
        query = query.where(Invoice.due_on < today().isoformat())
    return session.scalar(query)


def usable_referral(session: Session, patient_id: int, specialty: str, day: str) -> Referral:
    """The patient's referral that a visit on this day uses up, the one that expires first.

    Raises:
        HTTPException: there is none; the message says whether it is missing, expired or used up.
    """
    query = select(Referral).where(Referral.patient_id == patient_id, Referral.specialty == specialty)
    rows = session.scalars(query.order_by(Referral.expires_on, Referral.id)).all()
    in_time = [row for row in rows if row.expires_on >= day]
    usable = [row for row in in_time if row.visits_left > 0]
    if usable:
        return usable[0]
    if in_time:
        raise refuse(409, f"The patient's referral for {specialty} has no visits left.")
    if rows:
        raise refuse(409, f"The patient's referral for {specialty} expired on {rows[-1].expires_on}.")
    raise refuse(409, f"The patient has no referral for {specialty}, which this service needs.")


def overlapping(starts_at: str, ends_at: str, *, but: int | None = None):
    """Appointments that take some of the time from `starts_at` to `ends_at`."""
    query = select(Appointment).where(
        Appointment.status.in_(TAKES_TIME), Appointment.starts_at < ends_at, Appointment.ends_at > starts_at
    )
    return query if but is None else query.where(Appointment.id != but)


def covering_shift(session: Session, practitioner_id: int, starts_at: str, ends_at: str) -> Shift | None:
    query = select(Shift).where(
        Shift.practitioner_id == practitioner_id, Shift.starts_at <= starts_at, Shift.ends_at >= ends_at
    )
    return session.scalars(query).first()


def place(
    session: Session,
    practitioner: Practitioner,
    service: Service,
    patient: Patient,
    start: datetime,
    *,
    moved: int | None,
) -> tuple[str, str, Shift]:
    """Start, end and shift of an appointment that fits, or a refusal that says what is in its way."""
    if practitioner.specialty != service.specialty:
        raise refuse(409, f"{practitioner.name} does not give {service.name.lower()}.")
    if abs(start.year - today().year) > 1:
        raise refuse(422, f"Appointments cannot be made for the year {start.year}.")
    starts_at, ends_at = text(start), text(start + timedelta(minutes=service.minutes))
    if starts_at <= text(now()):
        raise refuse(409, "Appointments can only be made for the future.")
    if start.minute % SLOT_MINUTES or start.second or start.microsecond:
        raise refuse(422, f"Appointments begin at full quarters of an hour; {starts_at} is none.")
    shift = covering_shift(session, practitioner.id, starts_at, ends_at)
    if shift is None:
        raise refuse(409, f"{practitioner.name} does not work from {starts_at} to {ends_at}.")
    clashes = overlapping(starts_at, ends_at, but=moved)
    if count(session, clashes.where(Appointment.practitioner_id == practitioner.id)):
        raise refuse(409, f"{practitioner.name} has another appointment at that time.")
    if count(session, clashes.where(Appointment.patient_id == patient.id)):
        raise refuse(409, f"{patient.name} has another appointment at that time.")
    return starts_at, ends_at, shift


def slots_of(session: Session, shift: Shift, minutes: int) -> list[Slot]:
    """The free starts of a shift, a quarter of an hour apart."""
    busy = session.scalars(
        overlapping(shift.starts_at, shift.ends_at).where(Appointment.practitioner_id == shift.practitioner_id)
    ).all()
    found = []
    start, end = datetime.fromisoformat(shift.starts_at), datetime.fromisoformat(shift.ends_at)
    while start + timedelta(minutes=minutes) <= end:
        starts_at, ends_at = text(start), text(start + timedelta(minutes=minutes))
        free = all(other.ends_at <= starts_at or other.starts_at >= ends_at for other in busy)
        if free and starts_at > text(now()):
            found.append(
                Slot(
                    practitioner_id=shift.practitioner_id,
                    practitioner=shift.practitioner.name,
                    room=shift.room.name,
                    starts_at=starts_at,
                    ends_at=ends_at,
                )
            )
        start += timedelta(minutes=SLOT_MINUTES)
    return found


def patient_view(row: Patient) -> PatientView:
    return PatientView(id=row.id, name=row.name, born_on=row.born_on, phone=row.phone, email=row.email)


def referral_view(row: Referral) -> ReferralView:
    return ReferralView(
        id=row.id,
        specialty=row.specialty,
        issued_by=row.issued_by,
        expires_on=row.expires_on,
        visits_left=row.visits_left,
    )


def appointment_view(row: Appointment) -> AppointmentView:
    return AppointmentView(
        id=row.id,
        patient_id=row.patient_id,
        patient=row.patient.name,
        practitioner_id=row.practitioner_id,
        practitioner=row.practitioner.name,
        service_id=row.service_id,
        service=row.service.name,
        room=row.room.name,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        status=row.status,
    )


def waitlist_view(row: WaitlistEntry) -> WaitlistView:
    return WaitlistView(
        id=row.id,
        patient_id=row.patient_id,
        patient=row.patient.name,
        service_id=row.service_id,
        service=row.service.name,
        earliest_on=row.earliest_on,
        latest_on=row.latest_on,
        urgent=row.urgent,
        status=row.status,
        created_at=row.created_at,
    )


def invoice_view(row: Invoice, left: int) -> InvoiceView:
    return InvoiceView(
        id=row.id,
        patient_id=row.patient_id,
        patient=row.patient.name,
        reason=row.reason,
        amount_cents=row.amount_cents,
        open_cents=left,
        due_on=row.due_on,
        status=row.status,
    )


def settle_waitlist_entry(session: Session, entry_id: int, request: BookingRequest) -> None:
    entry = existing(session, WaitlistEntry, entry_id, "waiting list entry")
    if entry.status != "waiting":
        raise refuse(409, f"This waiting list entry is {entry.status} already.")
    if (entry.patient_id, entry.service_id) != (request.patient_id, request.service_id):
        raise refuse(409, "This waiting list entry is for another patient or service.")
    entry.status = "booked"


# Tools.

app = FastAPI(title="Harbour Lane Clinic", version="1.0.0")


@app.get(
    "/api/me",
    operation_id="get_me",
    tags=["clinic"],
    summary="Who is signed in",
    description="The member of staff on whose behalf the tools act.",
)
async def get_me(session: Database) -> StaffView:
    row = existing(session, Staff, SIGNED_IN_STAFF_ID, "member of staff")
    return StaffView.model_validate(row, from_attributes=True)


@app.get(
    "/api/practitioners",
    operation_id="list_practitioners",
    tags=["clinic"],
    summary="Doctors and therapists",
    description="All practitioners with their specialty. Use the id wherever a tool asks for a practitioner.",
)
async def list_practitioners(
    session: Database,
    specialty: Annotated[Specialty | None, Query(description="Only this specialty")] = None,
) -> PractitionerList:
    query = select(Practitioner).order_by(Practitioner.id)
    if specialty is not None:
        query = query.where(Practitioner.specialty == specialty)
    rows = session.scalars(query)
    return PractitionerList(items=[PractitionerView.model_validate(row, from_attributes=True) for row in rows])


@app.get(
    "/api/services",
    operation_id="list_services",
    tags=["clinic"],
    summary="What the clinic offers",
    description="Services with length, price in cents, and whether a referral is needed.",
)
async def list_services(
    session: Database,
    q: Annotated[str | None, Query(description="Part of the service's name")] = None,
    specialty: Annotated[Specialty | None, Query(description="Only this specialty")] = None,
) -> ServiceList:
    query = select(Service).order_by(Service.id)
    if q is not None:
        query = query.where(Service.name.icontains(q, autoescape=True))
    if specialty is not None:
        query = query.where(Service.specialty == specialty)
    rows = session.scalars(query)
    return ServiceList(items=[ServiceView.model_validate(row, from_attributes=True) for row in rows])


@app.get(
    "/api/shifts",
    operation_id="list_shifts",
    tags=["clinic"],
    summary="Who works when",
    description="Shifts with practitioner and room, earliest first. Appointments must lie within a shift.",
)
async def list_shifts(
    session: Database,
    practitioner_id: Annotated[Id | None, Query(description="Only this practitioner")] = None,
    from_day: Annotated[date | None, Query(description="First day; today when left out")] = None,
    to_day: Annotated[date | None, Query(description="Last day")] = None,
) -> ShiftList:
    query = select(Shift).where(Shift.starts_at >= (from_day or today()).isoformat())
    if practitioner_id is not None:
        existing(session, Practitioner, practitioner_id, "practitioner")
        query = query.where(Shift.practitioner_id == practitioner_id)
    if to_day is not None:
        query = query.where(Shift.starts_at <= end_of(to_day))
    return ShiftList(
        items=[
            ShiftView(
                id=row.id,
                practitioner_id=row.practitioner_id,
                practitioner=row.practitioner.name,
                room=row.room.name,
                starts_at=row.starts_at,
                ends_at=row.ends_at,
            )
            for row in session.scalars(query.order_by(Shift.starts_at, Shift.id))
        ]
    )


@app.get(
    "/api/workload",
    operation_id="get_workload",
    tags=["clinic"],
    summary="How busy the practitioners are",
    description="Per practitioner, busiest first, over a span of days: appointments that are not cancelled or missed, "
    "their minutes, and the minutes of the shifts.",
)
async def get_workload(
    session: Database,
    from_day: Annotated[date, Query(description="First day")],
    to_day: Annotated[date, Query(description="Last day")],
) -> WorkloadList:
    if to_day < from_day:
        raise refuse(422, "The last day is before the first.")
    span = (from_day.isoformat(), end_of(to_day))
    taken = select(Appointment.practitioner_id, Appointment.starts_at, Appointment.ends_at)
    visits = session.execute(taken.where(Appointment.status.in_(TAKES_TIME), Appointment.starts_at.between(*span))).all()
    worked = select(Shift.practitioner_id, Shift.starts_at, Shift.ends_at)
    shifts = session.execute(worked.where(Shift.starts_at.between(*span))).all()
    items = []
    for practitioner in session.scalars(select(Practitioner).order_by(Practitioner.id)):
        visit_minutes = [minutes_between(start, end) for whose, start, end in visits if whose == practitioner.id]
        shift_minutes = sum(minutes_between(start, end) for whose, start, end in shifts if whose == practitioner.id)
        booked = sum(visit_minutes)
        items.append(
            WorkloadView(
                practitioner_id=practitioner.id,
                practitioner=practitioner.name,
                appointments=len(visit_minutes),
                booked_minutes=booked,
                shift_minutes=shift_minutes,
                share_booked=round(booked / shift_minutes, 3) if shift_minutes else 0.0,
            )
        )
    return WorkloadList(items=sorted(items, key=lambda item: (-item.booked_minutes, item.practitioner_id)))


def minutes_between(starts_at: str, ends_at: str) -> int:
    return int((datetime.fromisoformat(ends_at) - datetime.fromisoformat(starts_at)).total_seconds() // 60)


@app.get(
    "/api/patients",
    operation_id="search_patients",
    tags=["patients"],
    summary="Find patients",
    description="Finds patients by part of the name or by phone number. Different patients may share a surname.",
)
async def search_patients(
    session: Database,
    q: Annotated[str | None, Query(description="Part of the name")] = None,
    phone: Annotated[str | None, Query(description="Phone number, exactly as noted")] = None,
    page: Annotated[int, Query(ge=1, le=1000, description="Page to show")] = 1,
    page_size: Annotated[int, Query(ge=1, le=50, description="Patients on a page")] = 20,
) -> PatientPage:
    query = select(Patient)
    if q is not None:
        query = query.where(Patient.name.icontains(q, autoescape=True))
    if phone is not None:
        query = query.where(Patient.phone == phone)
    rows = session.scalars(query.order_by(Patient.name, Patient.id).offset((page - 1) * page_size).limit(page_size))
    return PatientPage(total=count(session, query), page=page, items=[patient_view(row) for row in rows])


@app.post(
    "/api/patients",
    operation_id="create_patient",
    tags=["patients"],
    status_code=201,
    summary="Register a new patient",
    description="Refused when a patient of the same name and date of birth is registered.",
)
async def create_patient(session: Database, request: PatientRequest) -> PatientView:
    if request.born_on > today():
        raise refuse(422, "The date of birth is in the future.")
    name, born_on = request.name.strip(), request.born_on.isoformat()
    if count(session, select(Patient.id).where(Patient.name == name, Patient.born_on == born_on)):
        raise refuse(409, f"{name}, born on {born_on}, is registered already.")
    row = Patient(
        name=name,
        born_on=born_on,
        phone=request.phone.strip(),
        email=(request.email or "").strip() or None,
        created_at=text(now()),
        updated_at=text(now()),
    )
    session.add(row)
    session.commit()
    return patient_view(row)


@app.get(
    "/api/patients/{patient_id}",
    operation_id="get_patient",
    tags=["patients"],
    summary="A patient's record",
    description="Contact details, what the patient owes in cents, and all referrals, expired ones too.",
)
async def get_patient(
    session: Database, patient_id: Annotated[Id, Path(description="Id of the patient")]
) -> PatientDetails:
    row = existing(session, Patient, patient_id, "patient")
    referrals = session.scalars(select(Referral).where(Referral.patient_id == patient_id).order_by(Referral.id))
    return PatientDetails(
        **patient_view(row).model_dump(),
        owed_cents=owed_cents(session, patient_id),
        overdue_cents=owed_cents(session, patient_id, overdue_only=True),
        referrals=[referral_view(referral) for referral in referrals],
    )


@app.patch(
    "/api/patients/{patient_id}/contact",
    operation_id="update_patient_contact",
    tags=["patients"],
    summary="Change phone or e-mail",
    description="Changes what is given and leaves the rest.",
)
async def update_patient_contact(
    session: Database, patient_id: Annotated[Id, Path(description="Id of the patient")], request: ContactRequest
) -> PatientView:
    row = existing(session, Patient, patient_id, "patient")
    if request.phone is None and request.email is None:
        raise refuse(422, "Give a phone number or an e-mail address.")
    row.phone = request.phone or row.phone
    row.email = request.email or row.email
    row.updated_at = text(now())
    session.commit()
    return patient_view(row)


@app.post(
    "/api/patients/{patient_id}/referrals",
    operation_id="add_referral",
    tags=["patients"],
    status_code=201,
    summary="File a referral",
    description="Notes a referral that the patient brought. It must not have expired.",
)
async def add_referral(
    session: Database, patient_id: Annotated[Id, Path(description="Id of the patient")], request: ReferralRequest
) -> ReferralView:
    existing(session, Patient, patient_id, "patient")
    if request.expires_on < today():
        raise refuse(409, f"This referral expired on {request.expires_on.isoformat()}.")
    row = Referral(
        patient_id=patient_id,
        specialty=request.specialty,
        issued_by=request.issued_by.strip(),
        expires_on=request.expires_on.isoformat(),
        visits_left=request.visits,
    )
    session.add(row)
    session.commit()
    return referral_view(row)


@app.get(
    "/api/slots",
    operation_id="find_free_slots",
    tags=["appointments"],
    summary="Free times for a service",
    description="Starts at which the service fits into a shift, earliest first. Leaves out what is taken or past.",
)
async def find_free_slots(
    session: Database,
    service_id: Annotated[Id, Query(description="The service")],
    from_day: Annotated[date, Query(description="First day")],
    to_day: Annotated[date | None, Query(description="Last day; the first day when left out")] = None,
    practitioner_id: Annotated[Id | None, Query(description="Only this practitioner")] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="Most slots to give")] = 20,
) -> SlotList:
    service = existing(session, Service, service_id, "service")
    last = to_day or from_day
    if last < from_day:
        raise refuse(422, "The last day is before the first.")
    query = (
        select(Shift)
        .join(Practitioner)
        .where(
            Practitioner.specialty == service.specialty,
            Shift.starts_at >= from_day.isoformat(),
            Shift.starts_at <= end_of(last),
        )
    )
    if practitioner_id is not None:
        existing(session, Practitioner, practitioner_id, "practitioner")
        query = query.where(Shift.practitioner_id == practitioner_id)
    slots = [slot for shift in session.scalars(query) for slot in slots_of(session, shift, service.minutes)]
    return SlotList(items=sorted(slots, key=lambda slot: (slot.starts_at, slot.practitioner_id))[:limit])


@app.get(
    "/api/appointments",
    operation_id="list_appointments",
    tags=["appointments"],
    summary="Appointments",
    description="Appointments by patient, practitioner, service, days and status, in order of time.",
)
async def list_appointments(
    session: Database,
    patient_id: Annotated[Id | None, Query(description="Only this patient")] = None,
    practitioner_id: Annotated[Id | None, Query(description="Only this practitioner")] = None,
    service_id: Annotated[Id | None, Query(description="Only this service")] = None,
    status: Annotated[AppointmentStatus | None, Query(description="Only this status")] = None,
    from_day: Annotated[date | None, Query(description="First day")] = None,
    to_day: Annotated[date | None, Query(description="Last day")] = None,
    sort: Annotated[Literal["earliest", "latest"], Query(description="Order of the results")] = "earliest",
    page: Annotated[int, Query(ge=1, le=1000, description="Page to show")] = 1,
    page_size: Annotated[int, Query(ge=1, le=50, description="Appointments on a page")] = 20,
) -> AppointmentPage:
    query = select(Appointment)
    equal = {
        Appointment.patient_id: patient_id,
        Appointment.practitioner_id: practitioner_id,
        Appointment.service_id: service_id,
        Appointment.status: status,
    }
    for column, value in equal.items():
        if value is not None:
            query = query.where(column == value)
    if from_day is not None:
        query = query.where(Appointment.starts_at >= from_day.isoformat())
    if to_day is not None:
        query = query.where(Appointment.starts_at <= end_of(to_day))
    order = Appointment.starts_at if sort == "earliest" else Appointment.starts_at.desc()
    rows = session.scalars(query.order_by(order, Appointment.id).offset((page - 1) * page_size).limit(page_size))
    return AppointmentPage(total=count(session, query), page=page, items=[appointment_view(row) for row in rows])


@app.post(
    "/api/appointments",
    operation_id="book_appointment",
    tags=["appointments"],
    status_code=201,
    summary="Book an appointment",
    description="Books a free time. Some services use up a visit of a valid referral. Refused when the time is taken "
    f"or outside the shifts, and for patients who owe over {MAX_OVERDUE_CENTS} cents past the due date.",
)
async def book_appointment(session: Database, request: BookingRequest) -> AppointmentView:
    patient = existing(session, Patient, request.patient_id, "patient")
    service = existing(session, Service, request.service_id, "service")
    practitioner = existing(session, Practitioner, request.practitioner_id, "practitioner")
    overdue = owed_cents(session, patient.id, overdue_only=True)
    if overdue > MAX_OVERDUE_CENTS:
        raise refuse(409, f"{patient.name} owes {overdue} cents past the due date; settle that before booking.")
    starts_at, ends_at, shift = place(session, practitioner, service, patient, request.starts_at, moved=None)
    referral = None
    if service.needs_referral:
        referral = usable_referral(session, patient.id, service.specialty, starts_at[:10])
        referral.visits_left -= 1
    if request.waitlist_entry_id is not None:
        settle_waitlist_entry(session, request.waitlist_entry_id, request)
    row = Appointment(
        patient=patient,
        practitioner=practitioner,
        service=service,
        room=shift.room,
        referral=referral,
        starts_at=starts_at,
        ends_at=ends_at,
        status="booked",
        created_at=text(now()),
        updated_at=text(now()),
    )
    session.add(row)
    session.commit()
    return appointment_view(row)


@app.get(
    "/api/appointments/{appointment_id}",
    operation_id="get_appointment",
    tags=["appointments"],
    summary="One appointment",
    description="An appointment with patient, practitioner, service and room.",
)
async def get_appointment(
    session: Database, appointment_id: Annotated[Id, Path(description="Id of the appointment")]
) -> AppointmentView:
    return appointment_view(existing(session, Appointment, appointment_id, "appointment"))


@app.post(
    "/api/appointments/{appointment_id}/reschedule",
    operation_id="reschedule_appointment",
    tags=["appointments"],
    summary="Move an appointment",
    description="Moves a booked appointment to another free time, if wanted with another practitioner. "
    "A referral that it uses must still be valid on the new day.",
)
async def reschedule_appointment(
    session: Database,
    appointment_id: Annotated[Id, Path(description="Id of the appointment")],
    request: RescheduleRequest,
) -> AppointmentView:
    row = existing(session, Appointment, appointment_id, "appointment")
    if row.status != "booked":
        raise refuse(409, f"This appointment is {row.status.replace('_', ' ')}; only booked ones can be moved.")
    practitioner = existing(session, Practitioner, request.practitioner_id or row.practitioner_id, "practitioner")
    starts_at, ends_at, shift = place(session, practitioner, row.service, row.patient, request.starts_at, moved=row.id)
    if row.referral is not None and row.referral.expires_on < starts_at[:10]:
        raise refuse(409, f"The referral for this appointment expires on {row.referral.expires_on}.")
    row.practitioner, row.room = practitioner, shift.room
    row.starts_at, row.ends_at = starts_at, ends_at
    row.updated_at = text(now())
    session.commit()
    return appointment_view(row)


@app.post(
    "/api/appointments/{appointment_id}/cancel",
    operation_id="cancel_appointment",
    tags=["appointments"],
    summary="Cancel an appointment",
    description="Cancels a booked appointment and gives a referral's visit back. A patient who cancels less than "
    f"24 hours ahead is charged {LATE_CANCELLATION_CENTS} cents.",
)
async def cancel_appointment(
    session: Database, appointment_id: Annotated[Id, Path(description="Id of the appointment")], request: CancelRequest
) -> AppointmentView:
    row = existing(session, Appointment, appointment_id, "appointment")
    if row.status != "booked":
        raise refuse(409, f"This appointment is {row.status.replace('_', ' ')}; only booked ones can be cancelled.")
    if row.starts_at <= text(now()):
        raise refuse(409, "This appointment has begun or is over.")
    row.status = "cancelled"
    row.updated_at = text(now())
    if row.referral is not None:
        row.referral.visits_left += 1
    if request.wanted_by == "patient" and datetime.fromisoformat(row.starts_at) - now() < LATE_CANCELLATION:
        session.add(
            Invoice(
                patient_id=row.patient_id,
                appointment_id=row.id,
                reason="Late cancellation",
                amount_cents=LATE_CANCELLATION_CENTS,
                due_on=(today() + PAYMENT_TERM).isoformat(),
                status="open",
                created_at=text(now()),
                updated_at=text(now()),
            )
        )
    session.commit()
    return appointment_view(row)


@app.post(
    "/api/appointments/{appointment_id}/check-in",
    operation_id="check_in_patient",
    tags=["appointments"],
    summary="Check a patient in",
    description="Notes that the patient is here. Only on the day of the appointment.",
)
async def check_in_patient(
    session: Database, appointment_id: Annotated[Id, Path(description="Id of the appointment")]
) -> AppointmentView:
    row = existing(session, Appointment, appointment_id, "appointment")
    if row.status != "booked":
        raise refuse(409, f"This appointment is {row.status.replace('_', ' ')}; only booked ones can be checked in.")
    if row.starts_at[:10] != today().isoformat():
        raise refuse(409, f"This appointment is on {row.starts_at[:10]}, not today.")
    row.status = "checked_in"
    row.updated_at = text(now())
    session.commit()
    return appointment_view(row)


@app.get(
    "/api/waitlist",
    operation_id="list_waitlist",
    tags=["waiting list"],
    summary="Who waits for an earlier time",
    description="Waiting list entries in the order in which they are called: urgent ones first, then by waiting time. "
    "A patient can come only from the earliest to the latest day of the entry.",
)
async def list_waitlist(
    session: Database,
    service_id: Annotated[Id | None, Query(description="Only this service")] = None,
    status: Annotated[Literal["waiting", "booked", "withdrawn"], Query(description="Which entries")] = "waiting",
    suits_day: Annotated[date | None, Query(description="Only patients who can come on this day")] = None,
) -> WaitlistPage:
    query = select(WaitlistEntry).where(WaitlistEntry.status == status)
    if service_id is not None:
        existing(session, Service, service_id, "service")
        query = query.where(WaitlistEntry.service_id == service_id)
    if suits_day is not None:
        day = suits_day.isoformat()
        query = query.where(WaitlistEntry.earliest_on <= day, WaitlistEntry.latest_on >= day)
    rows = session.scalars(query.order_by(WaitlistEntry.urgent.desc(), WaitlistEntry.created_at, WaitlistEntry.id))
    return WaitlistPage(total=count(session, query), items=[waitlist_view(row) for row in rows])


@app.post(
    "/api/waitlist",
    operation_id="add_to_waitlist",
    tags=["waiting list"],
    status_code=201,
    summary="Put a patient on the waiting list",
    description="Refused when the patient waits for the service already or when the last day is past.",
)
async def add_to_waitlist(session: Database, request: WaitlistRequest) -> WaitlistView:
    patient = existing(session, Patient, request.patient_id, "patient")
    service = existing(session, Service, request.service_id, "service")
    if request.latest_on < max(request.earliest_on, today()):
        raise refuse(422, "The last day must not be past or before the first.")
    same = select(WaitlistEntry.id).where(
        WaitlistEntry.patient_id == patient.id,
        WaitlistEntry.service_id == service.id,
        WaitlistEntry.status == "waiting",
    )
    if count(session, same):
        raise refuse(409, f"{patient.name} waits for this service already.")
    row = WaitlistEntry(
        patient=patient,
        service=service,
        earliest_on=request.earliest_on.isoformat(),
        latest_on=request.latest_on.isoformat(),
        urgent=request.urgent,
        status="waiting",
        created_at=text(now()),
    )
    session.add(row)
    session.commit()
    return waitlist_view(row)


@app.post(
    "/api/waitlist/{entry_id}/withdraw",
    operation_id="withdraw_from_waitlist",
    tags=["waiting list"],
    summary="Take a patient off the waiting list",
    description="Withdraws an entry that is still waiting.",
)
async def withdraw_from_waitlist(
    session: Database, entry_id: Annotated[Id, Path(description="Id of the waiting list entry")]
) -> WaitlistView:
    row = existing(session, WaitlistEntry, entry_id, "waiting list entry")
    if row.status != "waiting":
        raise refuse(409, f"This waiting list entry is {row.status} already.")
    row.status = "withdrawn"
    session.commit()
    return waitlist_view(row)


@app.get(
    "/api/invoices",
    operation_id="list_invoices",
    tags=["invoices"],
    summary="Invoices",
    description="Invoices by patient and status, soonest due first, with what is still to be paid in cents.",
)
async def list_invoices(
    session: Database,
    patient_id: Annotated[Id | None, Query(description="Only this patient")] = None,
    status: Annotated[Literal["open", "paid", "void"] | None, Query(description="Only this status")] = None,
    overdue: Annotated[bool, Query(description="Only open invoices past their due date")] = False,
) -> InvoicePage:
    query = select(Invoice)
    if patient_id is not None:
        existing(session, Patient, patient_id, "patient")
        query = query.where(Invoice.patient_id == patient_id)
    if status is not None:
        query = query.where(Invoice.status == status)
    if overdue:
        query = query.where(Invoice.status == "open", Invoice.due_on < today().isoformat())
    rows = session.execute(query.add_columns(open_cents()).order_by(Invoice.due_on, Invoice.id))
    items = [invoice_view(row, left) for row, left in rows]
    return InvoicePage(total=len(items), open_cents=sum(item.open_cents for item in items), items=items)


@app.post(
    "/api/invoices/{invoice_id}/payments",
    operation_id="record_payment",
    tags=["invoices"],
    status_code=201,
    summary="Take a payment",
    description="Notes a payment on an open invoice, in part or in full; a fully paid invoice is closed.",
)
async def record_payment(
    session: Database, invoice_id: Annotated[Id, Path(description="Id of the invoice")], request: PaymentRequest
) -> InvoiceView:
    invoice = existing(session, Invoice, invoice_id, "invoice")
    if invoice.status != "open":
        raise refuse(409, f"This invoice is {invoice.status}.")
    left = session.scalar(select(open_cents()).where(Invoice.id == invoice.id))
    amount = left if request.amount_cents is None else request.amount_cents
    if amount > left:
        raise refuse(409, f"Only {left} cents are open on this invoice.")
    session.add(Payment(invoice_id=invoice.id, amount_cents=amount, method=request.method, created_at=text(now())))
    if amount == left:
        invoice.status = "paid"
    invoice.updated_at = text(now())
    session.commit()
    return invoice_view(invoice, left - amount)


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, host=os.environ.get("HOST", "127.0.0.1"), port=int(os.environ.get("PORT", "8000")))
