//! What is refused with one clear sentence, and writes nothing.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use support::certificates::Authority;
use support::machine::until;

use super::*;
use crate::identity::LedgerState;

fn refusal(place: &Postgres) -> String {
    let opened = PostgresLedger::open(place, Durability::Full, NOW);
    let seen = state(place).expect_err("refused").to_string();
    let refused = opened.expect_err("refused").to_string();
    assert_eq!(seen, refused);
    refused
}

#[test]
fn a_password_is_asked_for_and_checked() {
    let Some(server) = server() else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("password");
    let mut place = place(Server::tcp_url(server.port(), &server.database()));
    assert!(refusal(&place).contains("set [ledger] password_file"));
    place.password_file = Some(file.clone());
    assert!(refusal(&place).contains("cannot be read"));
    Server::write_password(&file);
    PostgresLedger::open(&place, Durability::Full, NOW).expect("the right one");
    fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("set");
    assert!(refusal(&place).contains("chmod 640"));
    fs::set_permissions(&file, Permissions::from_mode(0o640)).expect("set");
    fs::write(&file, "wrong\n").expect("written");
    let refused = refusal(&place);
    assert!(
        refused.contains("password authentication failed") && !refused.contains("wrong"),
        "{refused}"
    );
    fs::write(&file, "\n").expect("written");
    assert!(refusal(&place).contains("first line is empty"));
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("bound");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let place = place(Server::tcp_url(port, "d"));
    let pool = Pool::new(
        server::Server::new(&place).expect("a server"),
        1,
        Duration::from_secs(2),
    );
    let refused = schema::migrate(&pool, NOW)
        .expect_err("nobody listens")
        .to_string();
    assert!(
        refused.contains(&place.url) && refused.contains("onnection refused"),
        "{refused}"
    );
}

#[test]
fn a_database_that_is_not_there_is_named() {
    let Some(server) = server() else { return };
    let refused = refusal(&place(server.url("nowhere")));
    assert!(
        refused.contains("\"nowhere\" does not exist") && refused.contains("CREATE DATABASE"),
        "{refused}"
    );
}

#[test]
fn a_newer_ledger_and_another_program_are_left_alone() {
    let Some(server) = server() else { return };
    let database = server.database();
    let place = place(server.url(&database));
    assert_eq!(state(&place), Ok(LedgerState::Missing));
    server.run(
        &database,
        "CREATE SCHEMA corenexis; CREATE TABLE corenexis.invoice (number int)",
    );
    assert!(refusal(&place).contains("another program"));
    let tables = "SELECT string_agg(relname, ' ') FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = 'corenexis'";
    assert_eq!(server.run(&database, tables), "invoice");
    server.run(&database, "DROP SCHEMA corenexis CASCADE");
    drop(PostgresLedger::open(&place, Durability::Full, NOW).expect("opened"));
    server.run(&database, "UPDATE corenexis.site SET schema_version = 99");
    let refused = refusal(&place);
    assert!(
        refused.contains("schema version 99") && refused.contains("newer corenexis-cdn"),
        "{refused}"
    );
    let inspection = inspect(&place).expect("readable");
    assert_eq!((inspection.schema, inspection.clients), (99, Vec::new()));
}

#[test]
fn a_database_of_another_encoding_is_refused() {
    let Some(server) = server() else { return };
    server.run(
        "postgres",
        "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0",
    );
    let place = place(server.url("latin"));
    let refused = PostgresLedger::open(&place, Durability::Full, NOW).expect_err("LATIN1");
    assert!(refused.to_string().contains("ENCODING 'UTF8'"), "{refused}");
    assert_eq!(state(&place), Ok(LedgerState::Missing));
}

#[test]
fn an_account_that_may_not_write_is_told_so() {
    let Some(server) = server() else { return };
    let database = server.database();
    server.run(&database, "CREATE ROLE reader LOGIN");
    let url = server.url(&database).replace("corenexis@", "reader@");
    let refused = PostgresLedger::open(&place(url.clone()), Durability::Full, NOW);
    let refused = refused.expect_err("no rights").to_string();
    assert!(
        refused.contains("permission denied") && refused.contains("must own"),
        "{refused}"
    );
    drop(PostgresLedger::open(&place(server.url(&database)), Durability::Full, NOW).expect("made"));
    server.run(
        &database,
        "GRANT USAGE ON SCHEMA corenexis TO reader; GRANT SELECT ON ALL TABLES IN SCHEMA corenexis TO reader",
    );
    let ledger = PostgresLedger::open(&place(url), Durability::Full, NOW).expect("readable");
    let refused = ledger.add_client("a", "free", digest("a"), NOW);
    let refused = refused.expect_err("no rights").to_string();
    assert!(refused.contains("must own"), "{refused}");
}

#[test]
fn a_certificate_is_verified() {
    let Some(server) = server() else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let [password, no_certificate] = ["password", "ca.pem"].map(|name| directory.path().join(name));
    Server::write_password(&password);
    fs::write(&no_certificate, "no certificate").expect("written");
    let with = |server: &Server, host: &str, ca_file: Option<&Path>| {
        let url = Server::tcp_url(server.port(), "postgres").replace("127.0.0.1", host);
        Postgres {
            password_file: Some(password.clone()),
            ca_file: ca_file.map(Path::to_owned),
            ..place(url + "?sslmode=verify-full")
        }
    };
    let refused = refusal(&with(server, "localhost", None));
    assert!(refused.contains("TLS"), "the server speaks none: {refused}");
    let refused = refusal(&with(server, "localhost", Some(&no_certificate)));
    assert!(refused.contains("expected PEM"), "{refused}");

    let refused = refusal(&Postgres {
        url: Server::tcp_url(server.port(), "postgres") + "?sslmode=require",
        ..place(String::new())
    });
    assert!(
        refused.contains("TLS") && refused.contains("ssl = on"),
        "{refused}"
    );

    let (Some(own), Some(other)) = (Authority::new(), Authority::new()) else {
        return;
    };
    let server = Server::start().expect("started");
    let (own_file, other_file) = (own.file(), other.file());
    // The server takes a new certificate a moment after it is told to.
    let becomes = |host: &str, ca_file: Option<&Path>, expected: Option<[&str; 2]>| {
        let place = with(&server, host, ca_file);
        until("the new certificate", || match (state(&place), expected) {
            (Ok(_), None) => Some(()),
            (Err(error), Some(needles)) => {
                let text = error.to_string();
                needles
                    .iter()
                    .all(|needle| text.contains(needle))
                    .then_some(())
            }
            _ => None,
        });
        place
    };
    server.use_tls(&own.issue("localhost", "20991231000000Z"));
    let trusted = becomes("localhost", Some(&own_file), None);
    let ledger = PostgresLedger::open(&trusted, Durability::Full, NOW).expect("opened");
    let encrypted = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE ssl";
    assert_ne!(server.run("postgres", encrypted), "0");
    drop(ledger);
    for ca_file in [None, Some(&*other_file)] {
        let refused = refusal(&with(&server, "localhost", ca_file));
        assert!(
            refused.contains("authority that is not trusted")
                && refused.contains("set [ledger] ca_file"),
            "{refused}"
        );
    }
    let refused = refusal(&with(&server, "127.0.0.1", Some(&own_file)));
    assert!(refused.contains("is for other names"), "{refused}");
    server.use_tls(&own.issue("elsewhere.test", "20991231000000Z"));
    let needles = ["is for other names: ", "correct [ledger] url"];
    becomes("localhost", Some(&own_file), Some(needles));
    server.use_tls(&own.issue("localhost", "20260405000000Z"));
    let needles = ["expired on 2026-04-05", "renew it"];
    let expired = becomes("localhost", Some(&own_file), Some(needles));
    refusal(&expired);
}
