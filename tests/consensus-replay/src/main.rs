//! `consensus-replay DIR`: replays every chain file in DIR through Bitcoin Core's consensus code.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use consensus_replay::{replay, Accepted, ChainFile, EXTENSION};

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let (Some(dir), None) = (args.next(), args.next()) else {
        eprintln!("usage: consensus-replay DIR");
        return ExitCode::from(2);
    };
    match replay_all(Path::new(&dir)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("consensus-replay: {}: {error}", Path::new(&dir).display());
            ExitCode::FAILURE
        }
    }
}

/// Whether there were chains, and all were accepted.
fn replay_all(dir: &Path) -> std::io::Result<bool> {
    let files = chain_files(dir)?;
    if files.is_empty() {
        eprintln!("consensus-replay: no chain file in {}", dir.display());
        return Ok(false);
    }
    let (mut chains, mut blocks) = (0, 0);
    for file in &files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        match replay_file(file) {
            Ok(accepted) => {
                println!(
                    "{name}: height {}, {} blocks, {} of them reorganised away: accepted",
                    accepted.height,
                    accepted.blocks,
                    accepted.reorganised()
                );
                chains += 1;
                blocks += accepted.blocks;
            }
            Err(error) => println!("{name}: REFUSED: {error}"),
        }
    }
    let refused = files.len() - chains;
    if refused > 0 {
        println!(
            "consensus-replay: {refused} of {} chains REFUSED",
            files.len()
        );
        return Ok(false);
    }
    println!("consensus-replay: {chains} chains, {blocks} blocks accepted");
    Ok(true)
}

fn chain_files(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == EXTENSION)
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn replay_file(path: &Path) -> Result<Accepted, Box<dyn Error>> {
    let chain = ChainFile::parse(&fs::read(path)?)?;
    Ok(replay(&chain)?)
}
