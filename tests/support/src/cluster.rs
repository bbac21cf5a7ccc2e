//! Two hosts, each with a responder behind its nginx, over one database in PostgreSQL and one bucket.

use std::thread;

use serde_json::Value;

use crate::builder::SiteBuilder;
use crate::postgres::Server;
use crate::seaweedfs::{Access, Bucket};
use crate::site::Site;
use crate::skip;

/// Two hosts and what they share.
#[derive(Debug)]
pub struct Cluster {
    /// The hosts; both know the clients of the first.
    pub hosts: [Site; 2],
    /// The server of the ledger.
    pub server: &'static Server,
    /// The database of the ledger.
    pub database: String,
    /// The images.
    pub bucket: Bucket,
}

impl Cluster {
    /// Starts two hosts with these settings over the server of the test process.
    ///
    /// `None`, and the test is skipped, where PostgreSQL or SeaweedFS is not installed.
    pub fn start(settings: impl Fn() -> SiteBuilder) -> Option<Self> {
        let server = Server::shared().inspect_err(|why| skip(why)).ok()?;
        Self::over(server, settings)
    }

    /// The same over a server that the test may disturb. It runs until the test process ends.
    pub fn start_alone(settings: impl Fn() -> SiteBuilder) -> Option<Self> {
        let server = Server::start().inspect_err(|why| skip(why)).ok()?;
        Self::over(Box::leak(Box::new(server)), settings)
    }

    fn over(server: &'static Server, settings: impl Fn() -> SiteBuilder) -> Option<Self> {
        let bucket = Bucket::new(Access::Public)?;
        let database = server.database();
        let ledger = format!("url = \"{}\"", server.url(&database));
        let host = |number| {
            settings()
                .set("ledger", &ledger)
                .set("storage", &bucket.storage_of_host(number))
        };
        let one = host(1).start();
        let other = host(2).clients_of(&one).start();
        Some(Self {
            hosts: [one, other],
            server,
            database,
            bucket,
        })
    }

    /// The number that a query returns.
    pub fn count(&self, query: &str) -> usize {
        let number = self.server.run(&self.database, query);
        number.parse().expect("a number")
    }

    /// Rows, counted uploads and objects.
    pub fn holdings(&self) -> (usize, usize, usize) {
        (
            self.count("SELECT count(*) FROM corenexis.image"),
            self.count("SELECT coalesce(sum(uploads), 0) FROM corenexis.usage"),
            self.bucket.objects().len(),
        )
    }

    /// Runs a sweep on each host at the same time; returns their reports.
    pub fn sweep(&self) -> [Value; 2] {
        thread::scope(|scope| {
            let sweeps = self
                .hosts
                .each_ref()
                .map(|host| scope.spawn(|| host.run(&["sweep", "--json"])));
            sweeps
                .map(|sweep| serde_json::from_str(&sweep.join().expect("a report")).expect("JSON"))
        })
    }
}

/// The sum of a number over reports.
pub fn sum(reports: &[Value], name: &str) -> u64 {
    let numbers = reports.iter().map(|report| report[name].as_u64());
    numbers.map(|number| number.expect("a number")).sum()
}
