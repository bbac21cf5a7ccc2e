-- Version 1: functions about images.
--
-- Whatever changes images or their quota locks the clients first, in the order of their keys, so that no two wait for each other. The lock
-- of a client covers its counters.
--
-- They reach every row by its key, and the planner is told so: plans are kept, and one that was made while the tables were small would read
-- all of a table that has grown.
--
-- A program of a newer version leaves these functions as they are and adds its own beside them, because responders of this version may run
-- meanwhile.

CREATE FUNCTION corenexis.count_images() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    of_client record;
BEGIN
    FOR of_client IN
        SELECT client AS key, count(*) AS images, sum(size)::bigint AS bytes FROM changed GROUP BY client ORDER BY client
    LOOP
        IF TG_OP = 'INSERT' THEN
            UPDATE corenexis.client
            SET stored_images = stored_images + of_client.images, stored_bytes = stored_bytes + of_client.bytes
            WHERE client.key = of_client.key;
        ELSE
            UPDATE corenexis.client
            SET stored_images = stored_images - of_client.images, stored_bytes = stored_bytes - of_client.bytes
            WHERE client.key = of_client.key;
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;

CREATE TRIGGER image_added AFTER INSERT ON corenexis.image
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION corenexis.count_images();

CREATE TRIGGER image_deleted AFTER DELETE ON corenexis.image
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION corenexis.count_images();

CREATE FUNCTION corenexis.lock_clients_of(of_paths text[]) RETURNS void LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    owner bigint;
BEGIN
    FOR owner IN SELECT DISTINCT image.client FROM corenexis.image WHERE image.path = ANY (of_paths) ORDER BY image.client LOOP
        PERFORM 1 FROM corenexis.client WHERE client.key = owner FOR NO KEY UPDATE;
    END LOOP;
END
$$;

-- Checks key, quota and storage limit of each image in turn, and records those that fit. Verdicts: 0 recorded, 1 over the quota, 2 over the
-- storage limit, 3 repeated, 4 name taken. A batch may come twice, when the reply to the first was lost: an image that has this path, this
-- client and this time was recorded then, and gets the verdict again.
CREATE FUNCTION corenexis.record_images(
    at_time bigint, of_day bigint, keys_since bigint, is_durable boolean,
    paths text[], clients bigint[], daily_limits bigint[], max_storages bigint[], sizes bigint[],
    widths integer[], heights integer[], expiries bigint[], addresses bytea[], upload_keys bytea[], requests bytea[]
) RETURNS TABLE (verdict integer, used bigint) LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    owners bigint[] := ARRAY(SELECT DISTINCT key FROM unnest(clients) AS key ORDER BY key);
    used_now bigint[];
    stored_now bigint[];
    added bigint[] := array_fill(0::bigint, ARRAY[cardinality(owners)]);
    added_bytes bigint[] := array_fill(0::bigint, ARRAY[cardinality(owners)]);
    found_bytes bigint;
    found_uploads bigint;
    present text[];
    present_clients bigint[];
    present_times bigint[];
    seen_keys text[] := '{}';
    seen_key text;
    accepted integer[] := '{}';
    names text[] := '{}';
    verdicts integer[] := '{}';
    uses bigint[] := '{}';
    owner integer;
    place integer;
    outcome integer;
    inserted bigint;
BEGIN
    IF NOT is_durable THEN
        PERFORM set_config('synchronous_commit', 'off', true);
    ELSIF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    FOR owner IN 1 .. cardinality(owners) LOOP
        SELECT client.stored_bytes INTO found_bytes FROM corenexis.client WHERE client.key = owners[owner] FOR NO KEY UPDATE;
        IF NOT FOUND THEN
            RAISE foreign_key_violation USING MESSAGE = format('there is no client with the key %s', owners[owner]);
        END IF;
        SELECT usage.uploads INTO found_uploads FROM corenexis.usage WHERE usage.client = owners[owner] AND usage.day = of_day;
        stored_now[owner] := greatest(found_bytes, 0);
        used_now[owner] := coalesce(found_uploads, 0);
    END LOOP;
    SELECT array_agg(image.path), array_agg(image.client), array_agg(image.uploaded_at)
    INTO present, present_clients, present_times
    FROM corenexis.image WHERE image.path = ANY (paths);
    FOR i IN 1 .. cardinality(paths) LOOP
        owner := array_position(owners, clients[i]);
        place := array_position(present, paths[i]);
        seen_key := clients[i] || ' ' || encode(upload_keys[i], 'hex');
        IF place IS NOT NULL AND present_clients[place] = clients[i] AND present_times[place] = at_time THEN
            outcome := 0;
        ELSIF seen_key IS NOT NULL AND (seen_key = ANY (seen_keys) OR EXISTS (
            SELECT FROM corenexis.upload_key JOIN corenexis.image
                ON image.path = upload_key.path AND image.client = upload_key.client AND image.uploaded_at = upload_key.uploaded_at
            WHERE upload_key.client = clients[i] AND upload_key.key = upload_keys[i] AND upload_key.uploaded_at >= keys_since
        )) THEN
            outcome := 3;
        ELSIF used_now[owner] >= daily_limits[i] THEN
            outcome := 1;
        ELSIF stored_now[owner] + sizes[i] > max_storages[i] THEN
            outcome := 2;
        ELSIF place IS NOT NULL OR paths[i] = ANY (names) THEN
            outcome := 4;
        ELSE
            outcome := 0;
            accepted := accepted || i;
            names := names || paths[i];
            seen_keys := seen_keys || seen_key;
            used_now[owner] := used_now[owner] + 1;
            stored_now[owner] := stored_now[owner] + sizes[i];
            added[owner] := added[owner] + 1;
            added_bytes[owner] := added_bytes[owner] + sizes[i];
        END IF;
        verdicts := verdicts || outcome;
        uses := uses || used_now[owner];
    END LOOP;
    IF cardinality(accepted) > 0 THEN
        INSERT INTO corenexis.image AS image (path, client, size, width, height, uploaded_at, expires_at, address)
        SELECT new.path, new.client, new.size, new.width, new.height, at_time, new.expiry, new.address
        FROM unnest(paths, clients, sizes, widths, heights, expiries, addresses) WITH ORDINALITY
            AS new (path, client, size, width, height, expiry, address, number)
        WHERE new.number = ANY (accepted)
        ON CONFLICT (path) DO NOTHING;
        GET DIAGNOSTICS inserted = ROW_COUNT;
        IF inserted <> cardinality(accepted) THEN
            -- Another process has just taken a name: the next attempt sees it.
            RAISE serialization_failure USING MESSAGE = 'a name of the batch was taken meanwhile';
        END IF;
        INSERT INTO corenexis.upload_key AS known (client, key, request, path, uploaded_at)
        SELECT new.client, new.key, new.request, new.path, at_time
        FROM unnest(clients, upload_keys, requests, paths) WITH ORDINALITY AS new (client, key, request, path, number)
        WHERE new.number = ANY (accepted) AND new.key IS NOT NULL
        ON CONFLICT (client, key) DO UPDATE
            SET request = excluded.request, path = excluded.path, uploaded_at = excluded.uploaded_at;
        FOR owner IN 1 .. cardinality(owners) LOOP
            IF added[owner] > 0 THEN
                INSERT INTO corenexis.usage AS counted (client, day, uploads, bytes)
                VALUES (owners[owner], of_day, added[owner], added_bytes[owner])
                ON CONFLICT (client, day) DO UPDATE
                    SET uploads = counted.uploads + excluded.uploads, bytes = counted.bytes + excluded.bytes;
            END IF;
        END LOOP;
    END IF;
    RETURN QUERY SELECT * FROM unnest(verdicts, uses);
END
$$;

-- Deletes rows without files and refunds their quota; returns how many there were.
CREATE FUNCTION corenexis.refund_images(of_paths text[]) RETURNS bigint LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    refunded bigint := 0;
    counted record;
BEGIN
    PERFORM corenexis.lock_clients_of(of_paths);
    FOR counted IN
        WITH deleted AS (
            DELETE FROM corenexis.image WHERE image.path = ANY (of_paths) RETURNING image.client, image.uploaded_at, image.size
        )
        SELECT client, uploaded_at / 86400 AS day, count(*) AS images, sum(size)::bigint AS bytes
        FROM deleted GROUP BY 1, 2 ORDER BY 1, 2
    LOOP
        UPDATE corenexis.usage
        SET uploads = greatest(uploads - counted.images, 0), bytes = greatest(bytes - counted.bytes, 0)
        WHERE usage.client = counted.client AND usage.day = counted.day;
        refunded := refunded + counted.images;
    END LOOP;
    RETURN refunded;
END
$$;

-- Deletes rows whose files are deleted.
CREATE FUNCTION corenexis.delete_images(of_paths text[], OUT images bigint, OUT bytes bigint) LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    PERFORM corenexis.lock_clients_of(of_paths);
    WITH deleted AS (DELETE FROM corenexis.image WHERE image.path = ANY (of_paths) RETURNING image.size)
    SELECT count(*), coalesce(sum(size), 0)::bigint INTO images, bytes FROM deleted;
END
$$;

-- Records images that are in the store as those of a client, which is added disabled if there is none; returns how many rows are new.
CREATE FUNCTION corenexis.adopt_images(
    of_id text, with_plan text, at_time bigint,
    paths text[], sizes bigint[], widths integer[], heights integer[], times bigint[], expiries bigint[]
) RETURNS bigint LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    owner bigint;
    adopted bigint;
BEGIN
    INSERT INTO corenexis.client (id, plan, created_at, disabled_at) VALUES (of_id, with_plan, at_time, at_time)
    ON CONFLICT (id) WHERE removed_at IS NULL DO NOTHING;
    SELECT client.key INTO owner FROM corenexis.client WHERE client.id = of_id AND client.removed_at IS NULL FOR NO KEY UPDATE;
    INSERT INTO corenexis.image (path, client, size, width, height, uploaded_at, expires_at)
    SELECT new.path, owner, new.size, new.width, new.height, new.time, new.expiry
    FROM unnest(paths, sizes, widths, heights, times, expiries) AS new (path, size, width, height, time, expiry)
    ON CONFLICT (path) DO NOTHING;
    GET DIAGNOSTICS adopted = ROW_COUNT;
    RETURN adopted;
END
$$;

-- The clients whose counts differ from their rows, with what both were; `repairs` sets the counts right.
CREATE FUNCTION corenexis.storage_differences(repairs boolean)
RETURNS TABLE (id text, key bigint, images bigint, bytes bigint, found_images bigint, found_bytes bigint) LANGUAGE plpgsql AS $$
DECLARE
    owner record;
    counted record;
    found record;
BEGIN
    FOR owner IN
        SELECT client.key FROM corenexis.client LEFT JOIN
            (SELECT image.client, count(*) AS images, sum(image.size) AS bytes FROM corenexis.image GROUP BY image.client) AS sums
            ON sums.client = client.key
        WHERE (client.stored_images, client.stored_bytes) IS DISTINCT FROM (coalesce(sums.images, 0), coalesce(sums.bytes, 0))
        ORDER BY client.id
    LOOP
        -- Again, under the lock: uploads may have ended meanwhile.
        IF repairs THEN
            PERFORM 1 FROM corenexis.client WHERE client.key = owner.key FOR NO KEY UPDATE;
        END IF;
        SELECT client.id, client.stored_images, client.stored_bytes INTO counted FROM corenexis.client WHERE client.key = owner.key;
        SELECT count(*) AS images, coalesce(sum(image.size), 0)::bigint AS bytes INTO found
        FROM corenexis.image WHERE image.client = owner.key;
        IF (counted.stored_images, counted.stored_bytes) IS DISTINCT FROM (found.images, found.bytes) THEN
            IF repairs THEN
                UPDATE corenexis.client SET stored_images = found.images, stored_bytes = found.bytes WHERE client.key = owner.key;
            END IF;
            RETURN QUERY SELECT counted.id, owner.key, counted.stored_images, counted.stored_bytes, found.images, found.bytes;
        END IF;
    END LOOP;
END
$$;
