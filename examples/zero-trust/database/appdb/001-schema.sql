-- The reference application's tables. They belong to the owner role, never to a short-lived user.

CREATE TABLE users (
    id            serial PRIMARY KEY,
    username      varchar(50) UNIQUE NOT NULL,
    email         varchar(100) UNIQUE,
    password_hash varchar(255) NOT NULL,
    role          varchar(50) NOT NULL DEFAULT 'Detective',
    created_at    timestamp DEFAULT now(),
    updated_at    timestamp DEFAULT now()
);

CREATE TABLE github_integrations (
    id            serial PRIMARY KEY,
    user_id       integer REFERENCES users (id) ON DELETE CASCADE,
    is_configured boolean DEFAULT false,
    configured_at timestamp,
    last_accessed timestamp,
    UNIQUE (user_id)
);

CREATE TABLE audit_log (
    id        serial PRIMARY KEY,
    user_id   integer REFERENCES users (id) ON DELETE SET NULL,
    action    varchar(100) NOT NULL,
    resource  varchar(100),
    timestamp timestamp DEFAULT now(),
    details   jsonb
);

CREATE INDEX idx_users_username ON users (username);
CREATE INDEX idx_github_integrations_user_id ON github_integrations (user_id);
CREATE INDEX idx_audit_log_timestamp ON audit_log (timestamp DESC);
