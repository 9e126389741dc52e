//! `cargo xtask fuzz`: libFuzzer with the stable compiler, and without cargo-fuzz.
//!
//! `libfuzzer-sys` brings libFuzzer itself. What cargo-fuzz would add is the coverage
//! instrumentation, which is an LLVM pass that stable rustc can run too. (Only the address
//! sanitizer needs nightly, and the code under test has no `unsafe`.)
//!
//! To add a target: a file in `fuzz/fuzz_targets/`, its `[[bin]]` in `fuzz/Cargo.toml`, and, if
//! there are good inputs to start from, a directory of them in `fuzz/corpus/`.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::shell::{cargo, output, root, run, step, Outcome};

const INSTRUMENT: &[&str] = &[
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

// A little more than the largest message of the Lightning protocol.
const MAX_INPUT: usize = 66_000;

// No target has any business thinking longer than this about one input.
const SECONDS_PER_INPUT: u32 = 20;

pub struct Options {
    seconds: u32,
    target: Option<String>,
}

impl Options {
    pub fn parse(args: &[String]) -> Outcome<Self> {
        let mut options = Self {
            seconds: 60,
            target: None,
        };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--seconds" => {
                    let number = args.next().and_then(|n| n.parse().ok()).filter(|n| *n > 0);
                    options.seconds = number.ok_or("--seconds wants a number above 0")?;
                }
                name if !name.starts_with('-') && options.target.is_none() => {
                    options.target = Some(name.to_owned());
                }
                other => return Err(format!("cargo xtask fuzz does not know {other}")),
            }
        }
        Ok(options)
    }
}

pub fn fuzz(options: &Options) -> Outcome {
    let dir = root().join("fuzz");
    let targets = chosen(&dir, options.target.as_deref())?;
    let programs = step("fuzz targets, build", || build(&dir, &targets))?;
    for target in &targets {
        step(&format!("fuzz {target}"), || {
            let fuzzer = Fuzzer {
                dir: &dir,
                programs: &programs,
                target,
            };
            fuzzer.run(options.seconds)
        })?;
    }
    Ok(())
}

fn chosen(dir: &Path, only: Option<&str>) -> Outcome<Vec<String>> {
    let sources = dir.join("fuzz_targets");
    let files = files(&sources).map_err(|error| format!("{}: {error}", sources.display()))?;
    let mut all: Vec<String> = files
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    all.sort();
    match only {
        None if all.is_empty() => Err(format!("no target in {}", sources.display())),
        None => Ok(all),
        Some(name) if all.iter().any(|target| target == name) => Ok(vec![name.to_owned()]),
        Some(name) => Err(format!("no target {name}; there are: {}", all.join(", "))),
    }
}

/// Builds the targets and says where they are.
fn build(dir: &Path, targets: &[String]) -> Outcome<PathBuf> {
    let host = host()?;
    let target_dir = dir.join("target");
    let mut command = cargo();
    // With an explicit target the flags are not for build scripts, which must not be instrumented:
    // nothing in them has the symbols that libFuzzer brings.
    command
        .current_dir(dir)
        .args([
            "build",
            "--locked",
            "--release",
            "--target",
            &host,
            "--target-dir",
        ])
        .arg(&target_dir)
        .env("CARGO_ENCODED_RUSTFLAGS", INSTRUMENT.join("\x1f"));
    for target in targets {
        command.args(["--bin", target]);
    }
    run(&mut command)?;
    Ok(target_dir.join(host).join("release"))
}

fn host() -> Outcome<String> {
    let rustc = std::env::var("RUSTC").unwrap_or("rustc".to_owned());
    output(&rustc, &["-vV"])
        .and_then(|text| {
            text.lines()
                .find_map(|line| line.strip_prefix("host: "))
                .map(str::to_owned)
        })
        .ok_or("rustc does not say for which host it is".to_owned())
}

struct Fuzzer<'a> {
    dir: &'a Path,
    programs: &'a Path,
    target: &'a str,
}

impl Fuzzer<'_> {
    fn run(&self, seconds: u32) -> Outcome {
        self.run_inner(seconds).map_err(|error| error.to_string())?
    }

    /// The outer error is of the file system, the inner is what the fuzzer found.
    fn run_inner(&self, seconds: u32) -> io::Result<Outcome> {
        let program = self.programs.join(self.target);
        let found = self.dir.join("artifacts").join(self.target);
        fs::create_dir_all(&found)?;
        let corpus = TempCorpus::copy_of(&self.dir.join("corpus").join(self.target), self.target)?;
        let log = self.programs.join(format!("{}.log", self.target));

        let status = Command::new(&program)
            .arg(&corpus.0)
            .arg(format!("-artifact_prefix={}/", found.display()))
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-max_len={MAX_INPUT}"))
            .arg(format!("-timeout={SECONDS_PER_INPUT}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .status()?;

        let log = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        Ok(if status.success() {
            report(&log, files(&corpus.0)?.len())
        } else {
            Err(self.failure(&log, &program))
        })
    }

    fn failure(&self, log: &str, program: &Path) -> String {
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(40)..].join("\n");
        match log
            .lines()
            .find_map(|line| line.split_once("Test unit written to "))
        {
            Some((_, input)) => format!(
                "{tail}\n\n{} fails on {input}\nsee it again: {} {input}",
                self.target,
                program.display()
            ),
            None => format!("{tail}\n\n{} ended without an input to blame", self.target),
        }
    }
}

/// Passes on libFuzzer's last word, unless it was blind.
fn report(log: &str, corpus: usize) -> Outcome {
    let done = log
        .lines()
        .rfind(|line| line.contains("DONE "))
        .ok_or("libFuzzer did not finish")?;
    let number_after = |label: &str| -> Option<u64> {
        let mut words = done.split_whitespace().skip_while(|word| *word != label);
        words.nth(1)?.parse().ok()
    };
    let cov = number_after("cov:").filter(|cov| *cov > 0);
    let cov = cov.ok_or("libFuzzer saw no coverage: the instrumentation was lost")?;
    let runs = done
        .trim_start_matches('#')
        .split_whitespace()
        .next()
        .unwrap_or("?");
    println!("{runs} runs, cov: {cov}, {corpus} inputs in the corpus at the end, no failure");
    Ok(())
}

/// libFuzzer adds what it finds to its corpus. The committed one is to change only on purpose.
struct TempCorpus(PathBuf);

impl TempCorpus {
    fn copy_of(committed: &Path, target: &str) -> io::Result<Self> {
        let name = format!("fuzz-corpus-{target}-{}", std::process::id());
        let copy = Self(std::env::temp_dir().join(name));
        fs::create_dir(&copy.0)?;
        if committed.is_dir() {
            for input in files(committed)? {
                fs::copy(&input, copy.0.join(input.file_name().unwrap_or_default()))?;
            }
        }
        Ok(copy)
    }
}

impl Drop for TempCorpus {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            files.push(entry.path());
        }
    }
    Ok(files)
}
