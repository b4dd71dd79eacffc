//! Compresses the stylesheet and the scripts, and gives each a name with its digest: a browser may keep it for good.

use std::io::Write;
use std::path::Path;
use std::{env, fs};

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

/// Files in `assets`, with the constant of each.
const FILES: [(&str, &str, &str); 5] = [
    ("STYLE", "ui.css", "text/css"),
    ("THEME", "theme.js", "text/javascript"),
    ("SCRIPT", "ui.js", "text/javascript"),
    ("LOG", "log.js", "text/javascript"),
    ("EVENTS", "events.js", "text/javascript"),
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=assets");
    let out = env::var("OUT_DIR").expect("cargo sets it");
    let mut source = String::new();
    for (constant, file, media_type) in FILES {
        let bytes = fs::read(Path::new("assets").join(file)).expect("the file is readable");
        let digest: String =
            Sha256::digest(&bytes).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        let (stem, extension) = file.split_once('.').expect("the file has an extension");
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&bytes).expect("memory is writable");
        let packed = encoder.finish().expect("memory is writable");
        fs::write(Path::new(&out).join(format!("{file}.gz")), packed).expect("the folder is writable");
        source.push_str(&format!(
            "/// `{file}`.\npub const {constant}: Asset = Asset {{ name: \"{stem}.{digest}.{extension}\", \
             media_type: \"{media_type}\", gzipped: include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{file}.gz\")) }};\n"
        ));
    }
    let names: Vec<_> = FILES.iter().map(|(constant, ..)| *constant).collect();
    source.push_str(&format!(
        "/// All of them.\npub const ALL: [Asset; {}] = [{}];\n",
        names.len(),
        names.join(", ")
    ));
    fs::write(Path::new(&out).join("assets.rs"), source).expect("the folder is writable");
}
