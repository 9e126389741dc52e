//! Programs that talk much: what they say is shown when they fail, and then whole.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::process::{Command, ExitStatus, Stdio};

use crate::shell::{root, Outcome};

/// What a program has said on both outputs, and how it ended.
pub struct Said {
    pub text: String,
    status: ExitStatus,
}

impl Said {
    /// What it said, where it ended well. `name` is what the program is called where it did not.
    pub fn when_well(self, name: &str) -> Outcome<String> {
        if self.status.success() {
            return Ok(self.text);
        }
        println!("{}", self.text.trim_end());
        Err(format!("`{name}` ended with {}", self.status))
    }
}

/// Runs a program to its end, however that is.
pub fn listen(command: &mut Command) -> Outcome<Said> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |error: io::Error| format!("`{program}`: {error}");
    // A file, not a pipe: a child that outlives the program would keep a pipe open.
    let mut file = log().map_err(failed)?;
    let status = command
        .stdin(Stdio::null())
        .stdout(file.try_clone().map_err(failed)?)
        .stderr(file.try_clone().map_err(failed)?)
        .status()
        .map_err(failed)?;
    let mut text = Vec::new();
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    file.read_to_end(&mut text).map_err(failed)?;
    let text = String::from_utf8_lossy(&text).into_owned();
    Ok(Said { text, status })
}

/// Runs a program that has to end well.
pub fn quietly(name: &str, command: &mut Command) -> Outcome {
    listen(command)?.when_well(name).map(drop)
}

/// A file without a name: it goes when it is closed.
fn log() -> io::Result<File> {
    let dir = root().join("target/xtask");
    fs::create_dir_all(&dir)?;
    let path = dir.join(format!("log-{}", std::process::id()));
    let file = File::options()
        .create(true)
        .read(true)
        .append(true)
        .open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}
