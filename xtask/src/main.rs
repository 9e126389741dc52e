//! The project's commands, so that a developer and CI type the same: `cargo xtask help`.

mod android;
mod bindings;
mod build;
mod chroot;
mod crash;
mod debian;
mod deny;
mod figures;
mod fuzz;
mod interop;
mod kotlin;
mod ldk_node;
mod mobile;
mod native;
mod quiet;
mod shell;
mod swift;
mod targets;
mod test;

use std::process::ExitCode;

use build::Build;
use shell::{cargo, run, step, Outcome};

const HELP: &str = "\
cargo xtask test [--full]                   all tests, and Bitcoin Core's word on their chains; in full, also...
cargo xtask ldk-node                        ...those with a real ldk-node, which take long to build
cargo xtask kotlin                          of the first, those of android/ alone, on the JVM with the real library
cargo xtask swift                           those of ios/ alone, where need be with a Swift of its own
cargo xtask interop                         those against Core Lightning's own Python code alone
cargo xtask android [--jni-libs DIR]        the AAR (whole with an NDK), or the native libraries alone
cargo xtask targets                         the library's Rust, checked for Android and iOS; on Debian, as root
cargo xtask crash [--times N]               N (1000) power cuts and kills of each kind, and no blob or generation lost
cargo xtask figures [--sizes|--times]       how large the library is, and what opening it, a call and a push cost
cargo xtask fuzz [--seconds N] [target]     each fuzz target, or one, for N seconds (60)
cargo xtask bindings [--out DIR] [--api]    Kotlin and Swift; with --api write bindings/api.txt anew
cargo xtask deny                            licences, sources and known flaws of all dependencies
cargo xtask bench [arguments of cargo bench]
cargo xtask help";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: FAILED: {error}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(args: &[String]) -> Outcome {
    let (command, rest) = args
        .split_first()
        .map_or(("help", args), |(c, rest)| (c, rest));
    match command {
        "test" if rest.is_empty() => test::test(false),
        "test" if rest == ["--full"] => test::test(true),
        "ldk-node" if rest.is_empty() => ldk_node::test(None),
        "interop" if rest.is_empty() => interop::interop(Build::Alone),
        "kotlin" if rest.is_empty() => kotlin::kotlin(Build::Alone),
        "swift" if rest.is_empty() => swift::swift(Build::Alone),
        "android" => android::android(&android::Options::parse(rest)?),
        "crash" => crash::crash(&crash::Options::parse(rest)?),
        "fuzz" => fuzz::fuzz(&fuzz::Options::parse(rest)?),
        "bindings" => {
            let made = bindings::bindings(&bindings::Options::parse(rest)?, Build::Alone)?;
            println!("library: {}", made.library.display());
            println!("Kotlin:  {}", made.kotlin.display());
            println!("Swift:   {}", made.swift.display());
            Ok(())
        }
        "deny" if rest.is_empty() => deny::deny(),
        "figures" => figures::figures(&figures::Options::parse(rest)?),
        "targets" if rest.is_empty() => targets::targets(),
        "bench" => step("benches", || run(cargo().arg("bench").args(rest))),
        "help" | "--help" | "-h" => {
            println!("{HELP}");
            Ok(())
        }
        _ => Err(format!("unknown: {}\n{HELP}", args.join(" "))),
    }
}
