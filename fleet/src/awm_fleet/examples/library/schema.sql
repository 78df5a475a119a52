CREATE TABLE branches (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    address TEXT NOT NULL,
    opens TEXT NOT NULL,
    closes TEXT NOT NULL
);

CREATE TABLE members (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    email TEXT NOT NULL UNIQUE,
    card_number TEXT NOT NULL UNIQUE,
    home_branch_id INTEGER NOT NULL REFERENCES branches (id),
    joined_on TEXT NOT NULL
);

CREATE TABLE titles (
    id INTEGER PRIMARY KEY,
    title TEXT NOT NULL,
    author TEXT NOT NULL,
    subject TEXT NOT NULL,
    format TEXT NOT NULL CHECK (format IN ('book', 'audiobook', 'film')),
    published_year INTEGER NOT NULL,
    pages_or_minutes INTEGER NOT NULL,
    loan_days INTEGER NOT NULL CHECK (loan_days > 0)
);

CREATE TABLE copies (
    id INTEGER PRIMARY KEY,
    title_id INTEGER NOT NULL REFERENCES titles (id),
    branch_id INTEGER NOT NULL REFERENCES branches (id),
    barcode TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL CHECK (status IN ('available', 'on_loan', 'reserved', 'in_repair'))
);

CREATE TABLE loans (
    id INTEGER PRIMARY KEY,
    copy_id INTEGER NOT NULL REFERENCES copies (id),
    member_id INTEGER NOT NULL REFERENCES members (id),
    borrowed_on TEXT NOT NULL,
    due_on TEXT NOT NULL,
    returned_on TEXT,
    renewals INTEGER NOT NULL DEFAULT 0 CHECK (renewals BETWEEN 0 AND 2)
);

CREATE TABLE holds (
    id INTEGER PRIMARY KEY,
    title_id INTEGER NOT NULL REFERENCES titles (id),
    member_id INTEGER NOT NULL REFERENCES members (id),
    pickup_branch_id INTEGER NOT NULL REFERENCES branches (id),
    copy_id INTEGER REFERENCES copies (id),
    status TEXT NOT NULL CHECK (status IN ('waiting', 'ready', 'collected', 'cancelled')),
    created_at TEXT NOT NULL
);

CREATE TABLE fines (
    id INTEGER PRIMARY KEY,
    member_id INTEGER NOT NULL REFERENCES members (id),
    loan_id INTEGER NOT NULL REFERENCES loans (id),
    reason TEXT NOT NULL,
    amount_cents INTEGER NOT NULL CHECK (amount_cents > 0),
    status TEXT NOT NULL CHECK (status IN ('open', 'paid', 'waived')),
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);

CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    branch_id INTEGER NOT NULL REFERENCES branches (id),
    name TEXT NOT NULL,
    audience TEXT NOT NULL CHECK (audience IN ('children', 'families', 'adults')),
    starts_at TEXT NOT NULL,
    minutes INTEGER NOT NULL,
    capacity INTEGER NOT NULL CHECK (capacity > 0)
);

CREATE TABLE registrations (
    id INTEGER PRIMARY KEY,
    event_id INTEGER NOT NULL REFERENCES events (id),
    member_id INTEGER NOT NULL REFERENCES members (id),
    seats INTEGER NOT NULL CHECK (seats BETWEEN 1 AND 4),
    status TEXT NOT NULL CHECK (status IN ('booked', 'cancelled')),
    created_at TEXT NOT NULL
);

CREATE TABLE reading_lists (
    id INTEGER PRIMARY KEY,
    member_id INTEGER NOT NULL REFERENCES members (id),
    name TEXT NOT NULL,
    created_at TEXT NOT NULL,
    UNIQUE (member_id, name)
);

CREATE TABLE reading_list_entries (
    id INTEGER PRIMARY KEY,
    list_id INTEGER NOT NULL REFERENCES reading_lists (id) ON DELETE CASCADE,
    title_id INTEGER NOT NULL REFERENCES titles (id),
    note TEXT,
    created_at TEXT NOT NULL,
    UNIQUE (list_id, title_id)
);

CREATE INDEX copies_by_title ON copies (title_id);

CREATE INDEX loans_by_member ON loans (member_id, returned_on);

CREATE INDEX holds_by_title ON holds (title_id, status);

CREATE INDEX registrations_by_event ON registrations (event_id, status);
