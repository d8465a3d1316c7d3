-- Owned by notes_owner, who cannot log in. Users that live for an hour are members of notes_app.

CREATE TABLE notes (
    id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    text varchar(1000) NOT NULL,
    at   timestamptz NOT NULL DEFAULT now()
);

GRANT USAGE ON SCHEMA public TO notes_app;
GRANT SELECT, INSERT ON notes TO notes_app;
