INSERT INTO branches (id, name, address, opens, closes) VALUES
    (1, 'Larch Street', '14 Larch Street', '09:00', '19:00'),
    (2, 'Mill Quay', '2 Mill Quay', '10:00', '20:00'),
    (3, 'Northfield', '77 Orchard Rise', '09:00', '17:00');

INSERT INTO members (id, name, email, card_number, home_branch_id, joined_on) VALUES
    (1, 'Mara Lindqvist', 'mara.lindqvist@post.example', 'LS-1001', 1, '2021-09-04'),
    (2, 'Joseph Adeyemi', 'joseph.adeyemi@post.example', 'LS-1002', 1, '2019-02-11'),
    (3, 'Petra Holub', 'petra.holub@post.example', 'MQ-1003', 2, '2023-05-20'),
    (4, 'Samir Nandakumar', 'samir.n@post.example', 'NF-1004', 3, '2024-01-08'),
    (5, 'Greta Oduya', 'greta.oduya@post.example', 'MQ-1005', 2, '2020-11-30'),
    (6, 'Leo Fontaine', 'leo.fontaine@post.example', 'LS-1006', 1, '2025-06-17');

INSERT INTO titles (id, title, author, subject, format, published_year, pages_or_minutes, loan_days) VALUES
    (1, 'The Salt Road', 'Ilse Verhoeven', 'fiction', 'book', 2019, 342, 21),
    (2, 'The Salt Road', 'Ilse Verhoeven', 'fiction', 'audiobook', 2020, 615, 14),
    (3, 'A Lantern for Winter', 'Ilse Verhoeven', 'fiction', 'book', 2023, 288, 21),
    (4, 'A Lantern for Winter', 'Ilse Verhoeven', 'fiction', 'audiobook', 2024, 540, 14),
    (5, 'Harbour Lights', 'Ilse Verhoeven', 'fiction', 'audiobook', 2016, 480, 14),
    (6, 'Bread Without Hurry', 'Anton Reyes', 'cooking', 'book', 2018, 214, 21),
    (7, 'One Pot, Four Seasons', 'Anton Reyes', 'cooking', 'book', 2022, 198, 21),
    (8, 'The Patient Gardener', 'Wen Castellan', 'gardening', 'book', 2015, 256, 21),
    (9, 'Balcony Harvest', 'Wen Castellan', 'gardening', 'book', 2021, 160, 21),
    (10, 'Soil, Simply', 'Nadia Brook', 'gardening', 'book', 2024, 176, 21),
    (11, 'Maps of the Night Sky', 'Rufus Okonjo', 'science', 'book', 2017, 304, 21),
    (12, 'How Bridges Stand', 'Rufus Okonjo', 'science', 'book', 2020, 276, 21),
    (13, 'The Clockmaker''s Apprentice', 'Dalia Stern', 'children', 'book', 2014, 132, 21),
    (14, 'Otter Goes to School', 'Dalia Stern', 'children', 'book', 2019, 32, 21),
    (15, 'Fourteen Days of Rain', 'Priya Lowell', 'travel', 'film', 2021, 97, 7),
    (16, 'Slow Trains North', 'Priya Lowell', 'travel', 'book', 2018, 238, 21),
    (17, 'Slow Trains North', 'Priya Lowell', 'travel', 'audiobook', 2019, 590, 14),
    (18, 'The Glass Orchard', 'Marek Dunne', 'fiction', 'book', 2025, 410, 14),
    (19, 'Letters to a Lighthouse', 'Marek Dunne', 'fiction', 'book', 2012, 190, 21),
    (20, 'Small Repairs', 'Hanna Vale', 'crafts', 'book', 2020, 144, 21);

INSERT INTO copies (id, title_id, branch_id, barcode, status) VALUES
    (1, 1, 1, 'B-0001', 'on_loan'),
    (2, 1, 2, 'B-0002', 'on_loan'),
    (3, 2, 1, 'B-0003', 'available'),
    (4, 3, 1, 'B-0004', 'on_loan'),
    (5, 3, 3, 'B-0005', 'available'),
    (6, 4, 2, 'B-0006', 'on_loan'),
    (7, 5, 2, 'B-0007', 'available'),
    (8, 6, 1, 'B-0008', 'on_loan'),
    (9, 6, 3, 'B-0009', 'available'),
    (10, 7, 1, 'B-0010', 'on_loan'),
    (11, 8, 1, 'B-0011', 'available'),
    (12, 8, 2, 'B-0012', 'available'),
    (13, 9, 2, 'B-0013', 'available'),
    (14, 10, 2, 'B-0014', 'on_loan'),
    (15, 11, 1, 'B-0015', 'on_loan'),
    (16, 12, 1, 'B-0016', 'on_loan'),
    (17, 13, 1, 'B-0017', 'available'),
    (18, 13, 3, 'B-0018', 'in_repair'),
    (19, 14, 1, 'B-0019', 'available'),
    (20, 14, 2, 'B-0020', 'available'),
    (21, 15, 2, 'B-0021', 'on_loan'),
    (22, 16, 1, 'B-0022', 'on_loan'),
    (23, 17, 3, 'B-0023', 'available'),
    (24, 18, 1, 'B-0024', 'on_loan'),
    (25, 18, 2, 'B-0025', 'on_loan'),
    (26, 19, 3, 'B-0026', 'reserved'),
    (27, 20, 1, 'B-0027', 'available'),
    (28, 20, 2, 'B-0028', 'in_repair'),
    (29, 12, 3, 'B-0029', 'on_loan'),
    (30, 11, 2, 'B-0030', 'in_repair');

INSERT INTO loans (id, copy_id, member_id, borrowed_on, due_on, returned_on, renewals) VALUES
    (1, 8, 1, '2026-02-12', '2026-03-05', NULL, 0),
    (2, 15, 1, '2026-02-14', '2026-03-07', NULL, 0),
    (3, 22, 1, '2026-01-23', '2026-03-06', NULL, 1),
    (4, 16, 1, '2026-01-20', '2026-03-24', NULL, 2),
    (5, 10, 1, '2026-02-24', '2026-03-17', NULL, 0),
    (6, 1, 2, '2026-02-20', '2026-03-13', NULL, 0),
    (7, 2, 5, '2026-02-10', '2026-03-03', NULL, 0),
    (8, 4, 3, '2026-02-16', '2026-03-09', NULL, 0),
    (9, 6, 3, '2026-02-23', '2026-03-09', NULL, 0),
    (10, 14, 4, '2026-02-09', '2026-03-02', NULL, 0),
    (11, 21, 5, '2026-02-18', '2026-02-25', NULL, 0),
    (12, 24, 2, '2026-02-22', '2026-03-08', NULL, 0),
    (13, 25, 6, '2026-02-19', '2026-03-05', NULL, 0),
    (14, 29, 4, '2026-02-11', '2026-03-04', NULL, 0),
    (15, 3, 1, '2025-12-01', '2025-12-15', '2025-12-21', 0),
    (16, 11, 1, '2026-01-05', '2026-01-26', '2026-01-29', 0),
    (17, 20, 1, '2025-11-03', '2025-11-24', '2025-11-20', 0),
    (18, 30, 1, '2025-10-01', '2025-10-22', '2025-10-24', 0),
    (19, 12, 3, '2026-01-12', '2026-02-02', '2026-01-30', 0),
    (20, 27, 6, '2026-01-16', '2026-02-06', '2026-02-10', 0);

INSERT INTO holds (id, title_id, member_id, pickup_branch_id, copy_id, status, created_at) VALUES
    (1, 18, 1, 1, NULL, 'waiting', '2026-02-25T16:40:00Z'),
    (2, 18, 3, 2, NULL, 'waiting', '2026-02-23T11:05:00Z'),
    (3, 18, 4, 3, NULL, 'waiting', '2026-02-27T09:15:00Z'),
    (4, 10, 1, 1, NULL, 'waiting', '2026-02-20T12:30:00Z'),
    (5, 19, 1, 3, 26, 'ready', '2026-02-17T10:00:00Z'),
    (6, 11, 5, 2, NULL, 'waiting', '2026-02-28T14:20:00Z'),
    (7, 4, 1, 1, NULL, 'waiting', '2026-02-26T18:02:00Z'),
    (8, 1, 6, 1, NULL, 'waiting', '2026-02-28T15:45:00Z'),
    (9, 13, 2, 1, 17, 'collected', '2026-01-08T09:30:00Z'),
    (10, 6, 3, 2, NULL, 'cancelled', '2026-02-02T13:00:00Z');

INSERT INTO fines (id, member_id, loan_id, reason, amount_cents, status, created_at, updated_at) VALUES
    (1, 1, 15, 'Returned 6 days late', 180, 'open', '2025-12-21T15:10:00Z', '2025-12-21T15:10:00Z'),
    (2, 1, 16, 'Returned 3 days late', 90, 'open', '2026-01-29T11:25:00Z', '2026-01-29T11:25:00Z'),
    (3, 1, 18, 'Returned 2 days late', 60, 'paid', '2025-10-24T17:00:00Z', '2025-10-25T09:12:00Z'),
    (4, 6, 20, 'Returned 4 days late', 120, 'open', '2026-02-10T10:45:00Z', '2026-02-10T10:45:00Z'),
    (5, 1, 17, 'Torn cover', 450, 'open', '2025-11-20T14:00:00Z', '2025-11-20T14:00:00Z');

INSERT INTO events (id, branch_id, name, audience, starts_at, minutes, capacity) VALUES
    (1, 1, 'Saturday Story Hour', 'families', '2026-03-07T10:30:00Z', 60, 12),
    (2, 2, 'Saturday Story Hour', 'families', '2026-03-14T10:30:00Z', 60, 10),
    (3, 1, 'Saturday Story Hour', 'families', '2026-03-21T10:30:00Z', 60, 12),
    (4, 1, 'Seed Swap Evening', 'adults', '2026-03-12T18:00:00Z', 90, 20),
    (5, 2, 'Book Club: The Glass Orchard', 'adults', '2026-03-19T19:00:00Z', 90, 8),
    (6, 3, 'Mending Circle', 'adults', '2026-03-05T15:00:00Z', 120, 6),
    (7, 3, 'Mending Circle', 'adults', '2026-03-26T15:00:00Z', 120, 6),
    (8, 1, 'Stargazing for Beginners', 'children', '2026-03-20T17:30:00Z', 75, 10),
    (9, 2, 'Sourdough Talk with Anton Reyes', 'adults', '2026-03-12T18:30:00Z', 60, 25),
    (10, 1, 'Winter Poetry Night', 'adults', '2026-02-19T19:00:00Z', 90, 15);

INSERT INTO registrations (id, event_id, member_id, seats, status, created_at) VALUES
    (1, 1, 2, 4, 'booked', '2026-02-20T10:00:00Z'),
    (2, 1, 3, 4, 'booked', '2026-02-21T10:00:00Z'),
    (3, 1, 5, 3, 'booked', '2026-02-22T10:00:00Z'),
    (4, 2, 4, 3, 'booked', '2026-02-24T10:00:00Z'),
    (5, 4, 1, 1, 'booked', '2026-02-18T19:30:00Z'),
    (6, 6, 6, 4, 'booked', '2026-02-15T08:50:00Z'),
    (7, 6, 2, 2, 'booked', '2026-02-16T08:50:00Z'),
    (8, 10, 1, 2, 'booked', '2026-02-01T12:00:00Z'),
    (9, 9, 3, 2, 'booked', '2026-02-26T20:10:00Z'),
    (10, 5, 5, 2, 'cancelled', '2026-02-10T07:45:00Z');

INSERT INTO reading_lists (id, member_id, name, created_at) VALUES
    (1, 1, 'Spring on the balcony', '2026-02-08T18:00:00Z'),
    (2, 1, 'Gifts for Otto', '2025-12-02T18:00:00Z'),
    (3, 2, 'Long train rides', '2025-08-14T18:00:00Z');

INSERT INTO reading_list_entries (id, list_id, title_id, note, created_at) VALUES
    (1, 1, 9, 'For the tomato boxes', '2026-02-08T18:01:00Z'),
    (2, 1, 10, NULL, '2026-02-08T18:02:00Z'),
    (3, 1, 6, NULL, '2026-02-08T18:03:00Z'),
    (4, 2, 13, 'He likes clocks', '2025-12-02T18:01:00Z'),
    (5, 2, 14, NULL, '2025-12-02T18:02:00Z'),
    (6, 3, 17, NULL, '2025-08-14T18:01:00Z');
