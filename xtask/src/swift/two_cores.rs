//! The SDK's static archive and another Rust core's in one Swift program: both have an SQLite, a libsecp256k1 and
//! Rust's own library in them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::package::{ends_with, Package};
use crate::quiet::{listen, quietly};
use crate::shell::{root, Outcome};

const ARCHIVE: &str = "libpeer_storage_ffi.a";
const OTHER: &str = "libother_wallet.a";

/// How the names end of one function of each of the three things that both archives have.
const IN_BOTH: [&str; 3] = [
    "sqlite3_open_v2",
    "_ec_pubkey_create",
    "rust_eh_personality",
];

impl Package {
    /// Relinked by `ios/static-archive.sh` the two do not see each other. As cargo makes them they do: this is
    /// tried as well, so that the test is known to notice.
    pub fn two_cores(&self) -> Outcome {
        let dir = self.scratch.join("two-cores");
        let (relinked, mixed) = (dir.join("relinked"), dir.join("mixed"));
        for dir in [&relinked, &mixed] {
            empty(dir)?;
            link(&self.built.join(OTHER), &dir.join(OTHER))?;
        }
        let plain = self.built.join(ARCHIVE);
        quietly(
            "static-archive.sh",
            self.env()
                .arg(root().join("ios/static-archive.sh"))
                .args([&plain, &relinked.join(ARCHIVE)]),
        )?;
        link(&plain, &mixed.join(ARCHIVE))?;

        let program = self.link_two_cores(&relinked)?;
        ends_with("two cores: ok", &mut self.run_at(&program))?;
        self.expect_copies(&program, 2)?;

        let program = self.link_two_cores(&mixed)?;
        let said = listen(&mut self.run_at(&program))?;
        if said.text.contains("two cores: ok") {
            return Err("it also works with the archives as cargo makes them".to_owned());
        }
        self.expect_copies(&program, 1)?;
        let last = said.text.lines().last().unwrap_or_default();
        println!("as cargo makes them, with one of each for both: {last}");
        // Each archive is a third of a gigabyte.
        empty(&dir)
    }

    /// With what `swift build` has left of the package, and the archives in a folder.
    fn link_two_cores(&self, dir: &Path) -> Outcome<PathBuf> {
        let products = self.scratch.join("debug");
        let tests = root().join("ios/Tests");
        let program = dir.join("TwoCores");
        let mut command = self.env();
        command.args(["swiftc", "-swift-version", "6", "-o"]);
        command.arg(&program);
        command.arg(tests.join("TwoCores/main.swift"));
        for include in [
            products.join("Modules"),
            root().join("ios/Sources/PeerStorageFFI"),
            tests.join("OtherWallet/include"),
        ] {
            command.arg("-I").arg(include);
        }
        for module in ["PeerStorage", "UIKit", "BackgroundTasks", "Network"] {
            command.args(objects(&products.join(format!("{module}.build")))?);
        }
        // The module maps say which libraries to link. Given by path, Swift would try to read their bitcode.
        command.arg("-L").arg(dir);
        listen(&mut command)?.when_well("swiftc").map(|_| program)
    }

    fn expect_copies(&self, program: &Path, count: usize) -> Outcome {
        let mut nm = self.env();
        nm.args(["nm", "--defined-only"]).arg(program);
        let symbols = listen(&mut nm)?.when_well("nm")?;
        for name in IN_BOTH {
            let is_it = |line: &&str| line.ends_with(name) && !line.contains("DW.ref.");
            let found = symbols.lines().filter(is_it).count();
            if found != count {
                return Err(format!("{name} is there {found} times, not {count}"));
            }
        }
        Ok(())
    }
}

/// What Swift has made of a module's sources. Objects of sources that are gone stay there, so the list is asked.
fn objects(build: &Path) -> Outcome<Vec<PathBuf>> {
    let list = build.join("sources");
    let sources =
        fs::read_to_string(&list).map_err(|error| format!("{}: {error}", list.display()))?;
    let object = |source: &str| {
        let name = Path::new(source.trim_matches(['"', '\''])).file_name()?;
        Some(build.join(format!("{}.o", name.to_str()?)))
    };
    Ok(sources.lines().filter_map(object).collect())
}

fn link(archive: &Path, place: &Path) -> Outcome {
    symlink(archive, place).map_err(|error| format!("{}: {error}", place.display()))
}

fn empty(dir: &Path) -> Outcome {
    let _ = fs::remove_dir_all(dir);
    fs::create_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))
}
