CREATE TABLE staff (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('receptionist', 'manager', 'assistant')),
    email TEXT NOT NULL UNIQUE
);

CREATE TABLE practitioners (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    specialty TEXT NOT NULL CHECK (specialty IN ('general', 'physiotherapy', 'imaging'))
);

CREATE TABLE services (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    specialty TEXT NOT NULL CHECK (specialty IN ('general', 'physiotherapy', 'imaging')),
    minutes INTEGER NOT NULL CHECK (minutes > 0),
    price_cents INTEGER NOT NULL CHECK (price_cents >= 0),
    needs_referral INTEGER NOT NULL CHECK (needs_referral IN (0, 1))
);

CREATE TABLE rooms (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    floor INTEGER NOT NULL
);

CREATE TABLE patients (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    born_on TEXT NOT NULL,
    phone TEXT NOT NULL,
    email TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    UNIQUE (name, born_on)
);

CREATE TABLE shifts (
    id INTEGER PRIMARY KEY,
    practitioner_id INTEGER NOT NULL REFERENCES practitioners (id),
    room_id INTEGER NOT NULL REFERENCES rooms (id),
    starts_at TEXT NOT NULL,
    ends_at TEXT NOT NULL,
    CHECK (starts_at < ends_at)
);

CREATE TABLE referrals (
    id INTEGER PRIMARY KEY,
    patient_id INTEGER NOT NULL REFERENCES patients (id),
    specialty TEXT NOT NULL CHECK (specialty IN ('physiotherapy', 'imaging')),
    issued_by TEXT NOT NULL,
    expires_on TEXT NOT NULL,
    visits_left INTEGER NOT NULL CHECK (visits_left >= 0)
);

CREATE TABLE appointments (
    id INTEGER PRIMARY KEY,
    patient_id INTEGER NOT NULL REFERENCES patients (id),
    practitioner_id INTEGER NOT NULL REFERENCES practitioners (id),
    service_id INTEGER NOT NULL REFERENCES services (id),
    room_id INTEGER NOT NULL REFERENCES rooms (id),
    referral_id INTEGER REFERENCES referrals (id),
    starts_at TEXT NOT NULL,
    ends_at TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('booked', 'checked_in', 'completed', 'cancelled', 'missed')),
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);

CREATE TABLE waitlist_entries (
    id INTEGER PRIMARY KEY,
    patient_id INTEGER NOT NULL REFERENCES patients (id),
    service_id INTEGER NOT NULL REFERENCES services (id),
    earliest_on TEXT NOT NULL,
    latest_on TEXT NOT NULL,
    urgent INTEGER NOT NULL CHECK (urgent IN (0, 1)),
    status TEXT NOT NULL CHECK (status IN ('waiting', 'booked', 'withdrawn')),
    created_at TEXT NOT NULL,
    CHECK (earliest_on <= latest_on)
);

CREATE TABLE invoices (
    id INTEGER PRIMARY KEY,
    patient_id INTEGER NOT NULL REFERENCES patients (id),
    appointment_id INTEGER NOT NULL REFERENCES appointments (id),
    reason TEXT NOT NULL,
    amount_cents INTEGER NOT NULL CHECK (amount_cents > 0),
    due_on TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('open', 'paid', 'void')),
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);

CREATE TABLE payments (
    id INTEGER PRIMARY KEY,
    invoice_id INTEGER NOT NULL REFERENCES invoices (id),
    amount_cents INTEGER NOT NULL CHECK (amount_cents > 0),
    method TEXT NOT NULL CHECK (method IN ('card', 'cash', 'transfer')),
    created_at TEXT NOT NULL
);

CREATE INDEX appointments_by_practitioner ON appointments (practitioner_id, starts_at);

CREATE INDEX appointments_by_patient ON appointments (patient_id, starts_at);

CREATE INDEX invoices_by_patient ON invoices (patient_id, status);
