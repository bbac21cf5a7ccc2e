//! Random sequences of what administrators do: stop, kill, mount and unmount, restore, change paths, sweep. No acknowledged image is lost.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use support::machine::{fake, faketime, shell};
use support::pictures::png_of;
use support::site::Site;
use time::UtcDateTime;
use time::macros::format_description;

use crate::times;
use crate::uploads::{Random, Uploads, unlimited_with_restarts};

/// Steps of one sequence.
const STEPS: u64 = 14;

/// A site whose docroot is mounted or not, and whose responder runs or not.
struct Host {
    site: Site,
    uploads: Uploads,
    running: bool,
    mounted: bool,
    /// An older copy of the docroot, which lies below its mount point.
    below: Option<PathBuf>,
    /// A backup of the ledger.
    backup: Option<PathBuf>,
    library: Option<PathBuf>,
}

impl Host {
    fn new(library: Option<PathBuf>) -> Self {
        Self {
            site: unlimited_with_restarts().start(),
            uploads: Uploads::default(),
            running: true,
            mounted: true,
            below: None,
            backup: None,
            library,
        }
    }

    fn place(&self, name: &str) -> PathBuf {
        self.site.root.join(name)
    }

    /// Runs a command that must succeed on the right docroot and be refused on any other.
    #[track_caller]
    fn command(&self, arguments: &[&str]) {
        let output = self.site.output(arguments);
        let expected = if self.mounted { 0 } else { 4 };
        assert_eq!(
            output.status.code(),
            Some(expected),
            "{arguments:?}: {output:?}"
        );
    }

    /// A sweep 20 minutes from now, which takes rows that still have no file for lost.
    fn sweep_later(&self) {
        let Some(library) = &self.library else { return };
        let later = UtcDateTime::now() + time::Duration::minutes(20);
        let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
        let mut command = self.site.command(&["sweep"]);
        fake(
            &mut command,
            library,
            &later.format(&format).expect("a text"),
        );
        let output = command.output().expect("the sweep runs");
        let expected = if self.mounted { 0 } else { 4 };
        assert_eq!(output.status.code(), Some(expected), "{output:?}");
    }

    fn stop(&mut self, signal: Signal) {
        if self.running {
            self.site.signal(signal);
            self.site.wait_for_end();
            self.running = false;
        }
    }

    fn start(&mut self) {
        if self.mounted && !self.running {
            self.site.start_responder();
            self.running = true;
        } else if !self.mounted {
            self.command(&["serve"]);
        }
    }

    fn upload(&self) {
        for _ in 0..3 {
            if self.running && self.mounted {
                assert_eq!(self.uploads.upload(&self.site, 2_000), 200);
            }
        }
    }

    /// Takes the docroot away: its mount point is empty, or has an older copy.
    fn unmount(&mut self, random: &mut Random) {
        if !self.mounted {
            return;
        }
        self.stop(Signal::TERM);
        let docroot = self.site.docroot();
        fs::rename(&docroot, self.place("mounted")).expect("unmounted");
        match &self.below {
            // An older copy has the mark of now until the next start or sweep on the right one.
            Some(below) if random.below(2) == 0 => copy(below, &docroot),
            _ => fs::create_dir(&docroot).expect("an empty mount point"),
        }
        self.mounted = false;
    }

    fn mount(&mut self) {
        if !self.mounted {
            let docroot = self.site.docroot();
            fs::remove_dir_all(&docroot).expect("removed");
            fs::rename(self.place("mounted"), &docroot).expect("mounted");
            self.mounted = true;
        }
    }

    /// Keeps a copy of the docroot that is older than the next mark.
    fn keep_copy(&mut self) {
        if self.mounted {
            let copied = self.place("below");
            let _ = fs::remove_dir_all(&copied);
            copy(&self.site.docroot(), &copied);
            self.command(&["sweep"]);
            self.below = Some(copied);
        }
    }

    fn back_up(&mut self) {
        if self.mounted {
            let backup = self.place("backup.db");
            self.command(&["backup", &backup.display().to_string(), "--force"]);
            self.backup = Some(backup);
        }
    }

    /// Loses the ledger, then brings it back from a backup or from the images.
    fn lose_ledger(&mut self, random: &mut Random) {
        if !self.mounted {
            return;
        }
        self.stop(Signal::KILL);
        let directory = self.site.ledger_file();
        let directory = directory.parent().expect("a directory");
        fs::remove_dir_all(directory).expect("lost");
        fs::create_dir(directory).expect("empty");
        if self.uploads.len() == 0 {
            // There is nothing to lose: the site starts anew.
            self.mounted = true;
        } else {
            for arguments in [&["sweep"][..], &["serve"], &["image", "list"]] {
                let output = self.site.output(arguments);
                assert_eq!(output.status.code(), Some(4), "{output:?}");
            }
        }
        if let Some(backup) = self.backup.as_ref().filter(|_| random.below(3) > 0) {
            self.site
                .run(&["restore", &backup.display().to_string(), "--yes"]);
        }
        self.site.run(&["verify", "--rebuild"]);
        // The clients of a ledger that is made anew are gone.
        let added = self
            .site
            .output(&["client", "add", "client-lifetime", "--plan", "lifetime"]);
        if added.status.success() {
            self.site
                .output(&["client", "remove", "client-lifetime", "--yes"]);
            let token = self.place("token");
            fs::write(&token, &self.site.client("lifetime").token).expect("written");
            self.site.run(&[
                "client",
                "add",
                "client-lifetime",
                "--plan",
                "lifetime",
                "--token-file",
                &token.display().to_string(),
            ]);
        }
    }

    /// Points the configuration somewhere else, where everything is refused, and back.
    fn change_path(&mut self, random: &mut Random) {
        if !self.mounted || self.uploads.len() == 0 {
            return;
        }
        self.stop(Signal::TERM);
        let (from, to) = if random.below(2) == 0 {
            (self.site.docroot(), self.place("elsewhere"))
        } else {
            (self.site.ledger_file(), self.place("elsewhere.db"))
        };
        let _ = fs::create_dir(self.place("elsewhere"));
        let [from, to] = [from, to].map(|path| path.display().to_string());
        self.site.edit_config(|text| text.replace(&from, &to));
        for arguments in [&["sweep"][..], &["serve"], &["verify", "--repair"]] {
            let output = self.site.output(arguments);
            assert_eq!(output.status.code(), Some(4), "{arguments:?}: {output:?}");
        }
        assert!(!Path::new(&to).is_file());
        self.site.edit_config(|text| text.replace(&to, &from));
    }

    /// Puts the docroot back and starts, as the administrator does in the end; every acknowledged image is served.
    fn check(mut self) -> usize {
        self.mount();
        self.start();
        let images = self.uploads.acknowledged(0);
        for image in &images {
            let reply = self.site.get(&format!("/p/{}", image.path));
            assert_eq!(reply.status, 200, "{} is lost", image.path);
            assert_eq!(reply.body, png_of(2_000, image.serial), "{}", image.path);
        }
        self.sweep_later();
        self.site.run(&["verify", "--rebuild", "--repair"]);
        images.len()
    }
}

fn copy(from: &Path, to: &Path) {
    let script = format!("cp -a '{}' '{}'", from.display(), to.display());
    assert!(shell(&script).status().expect("cp runs").success());
}

#[test]
fn random_administration_loses_no_acknowledged_image() {
    let library = faketime();
    let sequences = times("FAULTS_SEQUENCES", 12);
    let mut random = Random::new();
    let mut images = 0;
    for sequence in 0..sequences {
        let mut host = Host::new(library.clone());
        let mut steps = Vec::new();
        for _ in 0..STEPS {
            let step = random.below(12);
            steps.push(step);
            // Shown when an assertion fails.
            eprintln!("sequence {sequence}: {steps:?}");
            match step {
                0..=2 => {
                    host.start();
                    host.upload();
                }
                3 => host.stop(Signal::TERM),
                4 => host.stop(Signal::KILL),
                5 => host.unmount(&mut random),
                6 => host.mount(),
                7 => host.keep_copy(),
                8 => host.command(&["sweep"]),
                9 => host.sweep_later(),
                10 => {
                    host.back_up();
                    host.lose_ledger(&mut random);
                }
                _ => host.change_path(&mut random),
            }
        }
        images += host.check();
    }
    eprintln!("{sequences} sequences of {STEPS} steps: {images} images acknowledged, 0 lost");
}
