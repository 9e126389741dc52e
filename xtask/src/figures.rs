//! `cargo xtask figures`: what the library costs an app, in bytes and in time.
//!
//! Sizes are absolute, and compared with those that were accepted (`bindings/sizes.txt`). Times are compared
//! with each other in one run, since they are this machine's.

pub mod exports;
mod sizes;
mod times;

use crate::shell::{step, Outcome};

/// What the command was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Write the accepted sizes anew, instead of comparing.
    accept: bool,
    sizes_alone: bool,
    times_alone: bool,
}

impl Options {
    pub fn parse(args: &[String]) -> Outcome<Options> {
        let mut options = Options::default();
        for arg in args {
            match arg.as_str() {
                "--accept" => options.accept = true,
                "--sizes" => options.sizes_alone = true,
                "--times" => options.times_alone = true,
                other => return Err(format!("unknown: {other}")),
            }
        }
        Ok(options)
    }
}

pub fn figures(options: &Options) -> Outcome {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        println!("figures are taken on x86_64 Linux, to be comparable: none here");
        return Ok(());
    }
    if !options.times_alone {
        sizes::sizes(options.accept)?;
    }
    if !options.sizes_alone {
        step("times", times::times)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Options;

    #[test]
    fn an_unknown_argument_is_an_error() {
        let parse = |args: &[&str]| {
            let args: Vec<String> = args.iter().map(ToString::to_string).collect();
            Options::parse(&args)
        };
        assert_eq!(parse(&[]), Ok(Options::default()));
        assert!(parse(&["--accept", "--sizes"]).unwrap().accept);
        assert!(parse(&["--size"]).is_err());
    }
}
