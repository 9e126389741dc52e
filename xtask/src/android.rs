//! `cargo xtask android`: the native library for each ABI of Android, and the AAR that a wallet depends on.
//!
//! The AAR can also be made by Gradle (`android/build.gradle.kts`, which calls this for the native libraries).
//! Here it is laid out by hand, so that all but the native libraries is made and checked without Android's
//! tools. Without an NDK there are none in it, and its name says so.

mod elf;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::kotlin;
use crate::mobile;
use crate::shell::{cargo, output, root, run, step, Outcome};

const VERSION: &str = env!("CARGO_PKG_VERSION");
const LIBRARY: &str = "libpeer_storage_ffi.so";
const MIN_SDK: &str = "24";

/// What Android calls a kind of processor, and whether its devices may have pages of 16 KiB.
const ABIS: [(&str, bool); 3] = [
    ("arm64-v8a", true),
    ("armeabi-v7a", false),
    ("x86_64", true),
];
const PAGE: u64 = 16 * 1024;

/// Where the native libraries are wanted; none: an AAR is.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Options {
    jni_libs: Option<PathBuf>,
}

impl Options {
    pub fn parse(args: &[String]) -> Outcome<Options> {
        match args {
            [] => Ok(Options::default()),
            [flag, dir] if flag == "--jni-libs" => Ok(Options {
                jni_libs: Some(dir.into()),
            }),
            _ => Err(format!("unknown: {}", args.join(" "))),
        }
    }
}

pub fn android(options: &Options) -> Outcome {
    match &options.jni_libs {
        Some(dir) => native_libraries(dir),
        None => aar(),
    }
}

/// Makes `DIR/<ABI>/libpeer_storage_ffi.so`, and checks that each can be loaded on a device with 16 KiB pages.
fn native_libraries(dir: &Path) -> Outcome {
    if let Some(missing) = missing_tools() {
        return Err(missing);
    }
    step("native libraries", || {
        let abis = ABIS.iter().flat_map(|(abi, _)| ["--target", abi]);
        run(cargo()
            .args(["ndk", "--platform", MIN_SDK, "--output-dir"])
            .arg(dir)
            .args(abis)
            .args(mobile::ARGUMENTS)
            // It would replace the flags of .cargo/config.toml, with the page size among them.
            .env_remove("RUSTFLAGS"))
    })?;
    step("page size", || {
        for (abi, large_pages) in ABIS {
            let library = dir.join(abi).join(LIBRARY);
            if large_pages {
                elf::has_pages_of(PAGE, &library)?;
            }
        }
        Ok(())
    })
}

fn aar() -> Outcome {
    let made = root().join("target/android");
    let content = made.join("aar");
    remove(&content)?;
    let jni = content.join("jni");
    let (name, is_whole) = match missing_tools() {
        None => (format!("peer-storage-android-{VERSION}.aar"), true),
        Some(missing) => {
            println!("{missing}: the AAR gets no native libraries, and works on no device");
            let name = format!("peer-storage-android-{VERSION}-without-native-libraries.aar");
            (name, false)
        }
    };
    if is_whole {
        native_libraries(&jni)?;
    }
    let classes = kotlin::classes()?;
    let aar = made.join(name);
    step("AAR", || {
        jar(&content.join("classes.jar"), &classes)?;
        lay_out(&content)?;
        jar(&aar, &content)?;
        write(&aar.with_extension("pom"), &pom())
    })?;
    println!("{}", aar.display());
    Ok(())
}

/// Everything but the classes and the native libraries, as Android's own build names it.
fn lay_out(content: &Path) -> Outcome {
    let android = root().join("android");
    let manifest = read(&android.join("src/main/AndroidManifest.xml"))?;
    let manifest = manifest
        .replacen(
            "<manifest ",
            "<manifest package=\"org.peerstorage.android\" ",
            1,
        )
        .replacen(
            "    <application>",
            &format!("    <uses-sdk android:minSdkVersion=\"{MIN_SDK}\" />\n    <application>"),
            1,
        );
    write(&content.join("AndroidManifest.xml"), &manifest)?;
    let rules = read(&android.join("consumer-rules.pro"))?;
    write(&content.join("proguard.txt"), &rules)?;
    write(&content.join("R.txt"), "")?; // it has no resources
    let metadata = "META-INF/com/android/build/gradle/aar-metadata.properties";
    let known = "aarFormatVersion=1.0\naarMetadataVersion=1.0\nminCompileSdk=1\n";
    write(&content.join(metadata), known)
}

/// What a wallet gets with it.
fn pom() -> String {
    format!(
        "\
<project xmlns=\"http://maven.apache.org/POM/4.0.0\">
  <modelVersion>4.0.0</modelVersion>
  <groupId>org.peerstorage</groupId>
  <artifactId>peer-storage-android</artifactId>
  <version>{VERSION}</version>
  <packaging>aar</packaging>
  <dependencies>
    <dependency>
      <groupId>net.java.dev.jna</groupId>
      <artifactId>jna</artifactId>
      <version>{}</version>
      <type>aar</type>
    </dependency>
    <dependency>
      <groupId>org.jetbrains.kotlinx</groupId>
      <artifactId>kotlinx-coroutines-core</artifactId>
      <version>{}</version>
    </dependency>
  </dependencies>
</project>
",
        kotlin::JNA,
        kotlin::COROUTINES
    )
}

/// What cargo-ndk needs and is not there.
fn missing_tools() -> Option<String> {
    if env::var_os("ANDROID_NDK_HOME").is_none() && env::var_os("ANDROID_NDK_ROOT").is_none() {
        return Some("no Android NDK (ANDROID_NDK_HOME is not set)".into());
    }
    if output("cargo", &["ndk", "--version"]).is_none() {
        return Some("no cargo-ndk (`cargo install cargo-ndk`)".into());
    }
    None
}

/// Both a jar and an AAR are zip files, and the JDK has a program for these.
fn jar(file: &Path, content: &Path) -> Outcome {
    if let Some(parent) = file.parent() {
        fs::create_dir_all(parent).map_err(|error| format!("{}: {error}", parent.display()))?;
    }
    run(Command::new("jar")
        .args(["--create", "--no-manifest", "--file"])
        .arg(file)
        .arg("-C")
        .arg(content)
        .arg("."))
}

fn read(path: &Path) -> Outcome<String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn write(path: &Path, text: &str) -> Outcome {
    let parent = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent)
        .and_then(|()| fs::write(path, text))
        .map_err(|error| format!("{}: {error}", path.display()))
}

fn remove(dir: &Path) -> Outcome {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("{}: {error}", dir.display()))
        }
        _ => Ok(()),
    }
}
