-- Version 1: functions about clients and their tokens.
--
-- `is_again`: the same call was sent before, and its reply was lost. What it did then is reported as done now.

-- One row for each valid token, in one snapshot. An unknown id is looked up in the same tables and gives one row without a client, so that
-- a wrong id takes as long as a wrong token.
CREATE FUNCTION corenexis.account(of_id text, of_day bigint, at_time bigint)
RETURNS TABLE (key bigint, plan text, is_disabled boolean, used bigint, digest bytea, stored_images bigint, stored_bytes bigint)
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY
        SELECT client.key, client.plan, client.disabled_at IS NOT NULL, coalesce(usage.uploads, 0), token.sha256,
            client.stored_images, client.stored_bytes
        FROM (SELECT of_id AS id) AS asked
        LEFT JOIN corenexis.client ON client.id = asked.id AND client.removed_at IS NULL
        LEFT JOIN corenexis.usage ON usage.client = coalesce(client.key, 0) AND usage.day = of_day
        LEFT JOIN corenexis.token ON token.client = coalesce(client.key, 0)
            AND (token.expires_at IS NULL OR token.expires_at > at_time);
END
$$;

CREATE FUNCTION corenexis.add_client(of_id text, with_plan text, digest bytea, token_name text, at_time bigint, is_again boolean)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    added bigint;
BEGIN
    INSERT INTO corenexis.client (id, plan, created_at) VALUES (of_id, with_plan, at_time)
    ON CONFLICT (id) WHERE removed_at IS NULL DO NOTHING
    RETURNING client.key INTO added;
    IF added IS NOT NULL THEN
        INSERT INTO corenexis.token (client, sha256, created_at, name) VALUES (added, digest, at_time, token_name);
        RETURN true;
    END IF;
    RETURN is_again AND EXISTS (
        SELECT FROM corenexis.client JOIN corenexis.token ON token.client = client.key
        WHERE client.id = of_id AND client.removed_at IS NULL AND client.created_at = at_time AND token.sha256 = digest
    );
END
$$;

CREATE FUNCTION corenexis.remove_client(of_id text, at_time bigint, is_again boolean) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    removed bigint;
BEGIN
    UPDATE corenexis.client SET removed_at = at_time WHERE client.id = of_id AND client.removed_at IS NULL
    RETURNING client.key INTO removed;
    IF removed IS NOT NULL THEN
        DELETE FROM corenexis.token WHERE token.client = removed;
        RETURN true;
    END IF;
    RETURN is_again AND EXISTS (SELECT FROM corenexis.client WHERE client.id = of_id AND client.removed_at = at_time);
END
$$;

-- The key of a client, locked against other changes of its tokens.
CREATE FUNCTION corenexis.lock_client(of_id text) RETURNS bigint LANGUAGE sql AS $$
    SELECT key FROM corenexis.client WHERE id = of_id AND removed_at IS NULL FOR NO KEY UPDATE
$$;

-- Another name by which the client has this token.
CREATE FUNCTION corenexis.other_token_name(owner bigint, digest bytea, token_name text, at_time bigint) RETURNS text LANGUAGE sql AS $$
    SELECT name FROM corenexis.token
    WHERE client = owner AND sha256 = digest AND name <> token_name AND (expires_at IS NULL OR expires_at > at_time)
$$;

-- Adds a token whose name is free, and deletes those that have ended. Returns another name by which the client has it, and adds nothing
-- then.
CREATE FUNCTION corenexis.put_token(owner bigint, digest bytea, token_name text, at_time bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    other text;
BEGIN
    DELETE FROM corenexis.token WHERE token.client = owner AND token.expires_at <= at_time;
    other := corenexis.other_token_name(owner, digest, token_name, at_time);
    IF other IS NULL THEN
        -- A token that is imported again while it still overlaps stays valid.
        INSERT INTO corenexis.token (client, sha256, created_at, name) VALUES (owner, digest, at_time, token_name)
        ON CONFLICT (client, sha256) DO UPDATE SET expires_at = NULL;
    END IF;
    RETURN other;
END
$$;

-- Outcomes: 0 added, 1 no client, 2 name taken, 3 known by `other`.
CREATE FUNCTION corenexis.add_token(
    of_id text, token_name text, digest bytea, at_time bigint, is_again boolean, OUT outcome integer, OUT other text
) LANGUAGE plpgsql AS $$
DECLARE
    owner bigint := corenexis.lock_client(of_id);
    taken record;
BEGIN
    IF owner IS NULL THEN
        outcome := 1;
        RETURN;
    END IF;
    SELECT token.sha256, token.created_at INTO taken FROM corenexis.token
    WHERE token.client = owner AND token.name = token_name AND token.expires_at IS NULL;
    IF FOUND THEN
        outcome := CASE WHEN is_again AND taken.sha256 = digest AND taken.created_at = at_time THEN 0 ELSE 2 END;
        RETURN;
    END IF;
    other := corenexis.put_token(owner, digest, token_name, at_time);
    outcome := CASE WHEN other IS NULL THEN 0 ELSE 3 END;
END
$$;

CREATE FUNCTION corenexis.rotate_token(
    of_id text, token_name text, digest bytea, old_end bigint, at_time bigint, OUT outcome integer, OUT other text
) LANGUAGE plpgsql AS $$
DECLARE
    owner bigint := corenexis.lock_client(of_id);
BEGIN
    IF owner IS NULL THEN
        outcome := 1;
        RETURN;
    END IF;
    other := corenexis.other_token_name(owner, digest, token_name, at_time);
    IF other IS NULL THEN
        UPDATE corenexis.token SET expires_at = least(coalesce(expires_at, old_end), old_end)
        WHERE token.client = owner AND token.name = token_name;
        other := corenexis.put_token(owner, digest, token_name, at_time);
    END IF;
    outcome := CASE WHEN other IS NULL THEN 0 ELSE 3 END;
END
$$;

-- Outcomes: 0 removed, 1 no client, 2 no token of that name, 3 the last one, which is kept.
CREATE FUNCTION corenexis.remove_token(of_id text, token_name text, is_again boolean) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    owner bigint := corenexis.lock_client(of_id);
BEGIN
    IF owner IS NULL THEN
        RETURN 1;
    END IF;
    IF NOT EXISTS (SELECT FROM corenexis.token WHERE token.client = owner AND token.name = token_name) THEN
        RETURN CASE WHEN is_again THEN 0 ELSE 2 END;
    END IF;
    IF NOT EXISTS (
        SELECT FROM corenexis.token WHERE token.client = owner AND token.name <> token_name AND token.expires_at IS NULL
    ) THEN
        RETURN 3;
    END IF;
    DELETE FROM corenexis.token WHERE token.client = owner AND token.name = token_name;
    RETURN 0;
END
$$;
