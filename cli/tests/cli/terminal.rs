//! A person at a terminal. `script` of util-linux makes one, which other systems do not have.
#![cfg(target_os = "linux")]

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};

use bitcoin::hex::DisplayHex;
use testkit::{wait_until, DEADLINE};

use crate::recover::Scene;
use crate::stage::{closes, destination};

/// The program on a terminal.
struct OnTerminal {
    child: Child,
    keyboard: ChildStdin,
    screen: Arc<Mutex<String>>,
    /// What was waited for on the screen so far ends here.
    seen: usize,
}

impl OnTerminal {
    fn start(args: &[String]) -> OnTerminal {
        let command = format!("{} {}", env!("CARGO_BIN_EXE_peer-storage"), args.join(" "));
        let mut child = Command::new("script")
            .args(["--quiet", "--return", "--command", &command, "/dev/null"])
            .env("TERM", "xterm")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("util-linux");
        let mut stdout = child.stdout.take().unwrap();
        let screen = Arc::new(Mutex::new(String::new()));
        let written = screen.clone();
        std::thread::spawn(move || {
            let mut chunk = [0; 1024];
            while let Ok(count @ 1..) = stdout.read(&mut chunk) {
                let text = String::from_utf8_lossy(&chunk[..count]);
                written.lock().unwrap().push_str(&text);
            }
        });
        OnTerminal {
            keyboard: child.stdin.take().unwrap(),
            child,
            screen,
            seen: 0,
        }
    }

    #[track_caller]
    fn wait_for(&mut self, text: &str) {
        let from = self.seen;
        let find = || {
            let screen = self.screen.lock().unwrap();
            screen[from..].find(text).map(|at| from + at + text.len())
        };
        wait_until(&format!("{text:?} on the screen"), DEADLINE, || {
            find().is_some()
        });
        self.seen = find().unwrap();
    }

    /// Waits until the terminal no longer shows what is typed: a moment after it was asked for.
    fn wait_until_hidden(&self) {
        let pid = self.child.id();
        let children = format!("/proc/{pid}/task/{pid}/children");
        let children = std::fs::read_to_string(children).unwrap();
        let shell = children.split_whitespace().next().unwrap();
        let terminal = std::fs::read_link(format!("/proc/{shell}/fd/0")).unwrap();
        wait_until("what is typed to be hidden", DEADLINE, || {
            let mut stty = Command::new("stty");
            let state = stty.arg("-F").arg(&terminal).arg("-a").output().unwrap();
            let state = String::from_utf8_lossy(&state.stdout).into_owned();
            state.split_whitespace().any(|word| word == "-echo")
        });
    }

    fn type_line(&mut self, text: &str) {
        writeln!(self.keyboard, "{text}").unwrap();
    }

    fn code(&mut self) -> i32 {
        self.child.wait().unwrap().code().unwrap()
    }

    fn screen(&self) -> String {
        self.screen.lock().unwrap().clone()
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_person_types_the_seed_unseen_and_agrees_to_each_thing_by_a_word() {
    let scene = Scene::new();
    let seed = scene.lost.seed.to_lower_hex_string();
    let args = crate::args![
        "recover",
        "--data-dir",
        scene.lost.dir.display(),
        "--network",
        "regtest",
        "--esplora",
        scene.esplora.url(),
        "--sweep-to",
        destination(),
        "--stay",
        1,
        "--poll",
        1,
        format!("{}@{}", scene.peer.id(), scene.peer.addr()),
    ];
    let gone = "Is the old device gone for good?";

    let mut person = OnTerminal::start(&args);
    person.wait_for("not shown): ");
    person.wait_until_hidden();
    person.type_line(&seed);
    person.wait_for("what can come back");
    person.wait_for(gone);
    person.wait_for("Type yes to agree: ");
    person.type_line("y");
    assert_eq!(person.code(), 4);
    assert!(!person.screen().contains(&seed));
    assert_eq!(closes(&scene.stage.chain, &scene.lost.funding), 0);

    let mut person = OnTerminal::start(&args);
    person.wait_for("not shown): ");
    person.wait_until_hidden();
    person.type_line(&seed);
    person.wait_for(gone);
    person.wait_for("Type yes to agree: ");
    person.type_line("yes");
    person.wait_for("Close 1 channels");
    person.wait_for("Type yes to agree: ");
    person.type_line("Yes");
    person.wait_for("waits for the peer, asked 1 times");
    scene.confirm_close();
    person.wait_for("swept, waits for blocks");
    scene.stage.chain.mine(6);
    person.wait_for("Done: ");
    assert_eq!(person.code(), 0);
    assert!(!person.screen().contains(&seed));
    let coins = scene.stage.chain.coins(&destination().script_pubkey());
    assert_eq!(coins.len(), 1);
}
