//! The signatures are of the program minisign 0.11, all of the same bytes.

use super::*;

const KEYS: &str = "\
    untrusted comment: minisign public key 636D72E25234463E\n\
    RWQ+RjRS4nJtY1UBTULVtQK2tvhnzFtHN2jfkncUI9Vb34obZz7PgoIH\n\
    ";
const OTHER_KEYS: &str = "\
    untrusted comment: minisign public key D04DBF1674187616\n\
    RWQWdhh0Fr9N0IhBmN/e9vsG89q8y83BmAKlVskRJscechxg4O5Pqbcw\n\
    ";
const FILE: &[u8] = b"plugin one";
const PLAIN: &str = "\
    untrusted comment: signature from minisign secret key\n\
    RUQ+RjRS4nJtYx6BNhcup6NdceMnpixkCDBDNMS/PhwwP2D1GIPvylrwg25/YHohzgd8sElnbPGyVnrNmNjjcefqCwhda653sg8=\n\
    trusted comment: timestamp:1795996007\tfile:a.wasm\thashed\n\
    iKjwchxFoLaV0mt1t2UXmBL748dqSGr81BPa9X46u/JHw8mJoL64Yiu33iE28l3QzdeDHADigY8PvOJ9GwMbAg==\n\
    ";
const LEGACY: &str = "\
    untrusted comment: signature from minisign secret key\n\
    RWQ+RjRS4nJtY7glDLzbKVvbNLYpBuHt5WkWABgrOqSFkBaQ4y8d13NVvMRKlTBjdFxZADnkNSbPiALmg5Bza+7Chr3oug4J6wY=\n\
    trusted comment: file:a.wasm version=2\n\
    6pZiq1KiHIGigqphlxPOp8tMCx/LMpPhUop4jp0jBoO5tjBRcmU4hZojW/VJQonA85DAluwf30sIq/i+LKO0BQ==\n\
    ";
const OF_OTHER_KEY: &str = "\
    untrusted comment: signature from minisign secret key\n\
    RUQWdhh0Fr9N0F2ZpVnTWSNeYfZGEwKRofQwezcn2iE+pT1773EBfQW3vYsdj9mw2F5LNhL/IBF+T7WAi3p1BZEJWvYbHEQ4XwI=\n\
    trusted comment: timestamp:1795996007\tfile:a.wasm\thashed\n\
    bJ65SW6t0QTsHbQ2aZodpWiwdXSkldMYNOM+5p5ZNIiBB8tBv6IPqjndqSm3tJADAeKCxUSp3mmSNsmhlbEYAQ==\n\
    ";
const VERSION_1_10: &str = "\
    untrusted comment: signature from minisign secret key\n\
    RUQ+RjRS4nJtYx6BNhcup6NdceMnpixkCDBDNMS/PhwwP2D1GIPvylrwg25/YHohzgd8sElnbPGyVnrNmNjjcefqCwhda653sg8=\n\
    trusted comment: a.wasm version=1.10\n\
    5+DvoBhfs5RKOYTaYQGmZfHPjBgKxkV7RLhatlKxotUzBIU+Lu8qM5+rQ+RXAfLmp5rIk/84vukHTc294hevDg==\n\
    ";
const INVALID_VERSION: &str = "\
    untrusted comment: signature from minisign secret key\n\
    RUQ+RjRS4nJtYx6BNhcup6NdceMnpixkCDBDNMS/PhwwP2D1GIPvylrwg25/YHohzgd8sElnbPGyVnrNmNjjcefqCwhda653sg8=\n\
    trusted comment: a.wasm version=x\n\
    /eVmQF1tYnV9RKsBJYKwz49S4KoFaURG0xWzy4aEG/THuN6qz4KfCx7v/JXVDqwY5huYLWNUAxh72Rv6M49uDA==\n\
    ";
const TWO_VERSIONS: &str = "\
    untrusted comment: signature from minisign secret key\n\
    RUQ+RjRS4nJtYx6BNhcup6NdceMnpixkCDBDNMS/PhwwP2D1GIPvylrwg25/YHohzgd8sElnbPGyVnrNmNjjcefqCwhda653sg8=\n\
    trusted comment: a.wasm version=1 version=2\n\
    IelOgzHIAPAhx7d9vHim8NO8n4o0LJoJeeoUvBVTigXCOSFN5wy/Z+msZwvUlst1Hghm/06kjOMY3NbXtBbvDQ==\n\
    ";
const OF_B: &str = "\
    untrusted comment: signature from minisign secret key\n\
    RUQ+RjRS4nJtYx6BNhcup6NdceMnpixkCDBDNMS/PhwwP2D1GIPvylrwg25/YHohzgd8sElnbPGyVnrNmNjjcefqCwhda653sg8=\n\
    trusted comment: file:b.wasm version=1\n\
    jB596eLS58f8D35/kcoVQycCB8w0zfIc/8VfFL0a6AAaPp+ALJgmQ5NZ+gormYHozhHXJgfdTfEM5BhThIJIAw==\n\
    ";

struct Bed {
    folder: tempfile::TempDir,
    trust: Trust,
}

fn bed(keys: &str) -> Bed {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.pub");
    std::fs::write(&file, keys).unwrap();
    let keys = Arc::new(SigningKeys::read(&file).unwrap());
    let versions = Some(folder.path().join("plugin-versions.toml"));
    let trust = Trust::new(PluginTrust::Signed(SignedTrust { keys, allow_older: false, versions }));
    Bed { folder, trust }
}

impl Bed {
    /// Checks `a.wasm`, with these bytes as the signature beside it.
    fn check(&self, bytes: &[u8], signature: &[u8]) -> Result<Vec<FileVersion>, String> {
        let wasm = self.folder.path().join("a.wasm");
        std::fs::write(self.folder.path().join("a.wasm.minisig"), signature).unwrap();
        let vouch = self.trust.vouch(&wasm, None);
        vouch.check_wasm(&wasm, bytes).map(|()| vouch.versions())
    }

    fn refusal(&self, bytes: &[u8], signature: &[u8]) -> String {
        self.check(bytes, signature).unwrap_err()
    }
}

#[test]
fn a_file_with_a_signature_of_a_known_key_is_trusted() {
    let bed = bed(KEYS);
    assert_eq!(bed.check(FILE, PLAIN.as_bytes()), Ok(Vec::new()));
    let versions = bed.check(FILE, VERSION_1_10.as_bytes()).unwrap();
    assert_eq!((versions[0].file.as_str(), versions[0].version.to_string().as_str()), ("a.wasm", "1.10"));
    // Several keys and several signatures are for a change of either.
    let both = self::bed(&format!("{OTHER_KEYS}\n# the old one\n{KEYS}"));
    for text in [PLAIN.to_owned(), format!("{OF_OTHER_KEY}{PLAIN}"), OF_OTHER_KEY.to_owned()] {
        assert_eq!(both.check(FILE, text.as_bytes()), Ok(Vec::new()));
    }
    assert_eq!(bed.check(FILE, PLAIN.replace('\n', "\r\n").as_bytes()), Ok(Vec::new()));
}

#[test]
fn a_hostile_signature_is_refused_with_its_reason() {
    let bed = bed(KEYS);
    let damaged = PLAIN.replacen("BNhcup6", "BNhcup7", 1);
    let changed_comment = VERSION_1_10.replace("1.10", "1.11");
    let huge = PLAIN.repeat(100);
    let not_first = PLAIN.lines().skip(1).collect::<Vec<_>>().join("\n");
    for (signature, said) in [
        (OF_OTHER_KEY.as_bytes(), "a key that is not in --plugin-keys"),
        (LEGACY.as_bytes(), "legacy format"),
        (OF_B.as_bytes(), "does not name the file"),
        (INVALID_VERSION.as_bytes(), "version 'x'"),
        (TWO_VERSIONS.as_bytes(), "several versions"),
        (damaged.as_bytes(), "other bytes"),
        (changed_comment.as_bytes(), "other bytes"),
        (huge.as_bytes(), "larger than"),
        (not_first.as_bytes(), "no signature of minisign"),
        (b"", "no signature of minisign"),
        (b"\n\n\n\n\n\n\n\n", "no signature of minisign"),
        (b"untrusted comment: a\nb\ntrusted comment: c\nd\n", "no signature of minisign"),
        (b"untrusted comment: \xff\xfe", "not UTF-8"),
    ] {
        let refusal = bed.refusal(FILE, signature);
        assert!(refusal.contains(said), "{said}: {refusal}");
    }
    assert!(bed.refusal(b"plugin two", PLAIN.as_bytes()).contains("other bytes"));
    // Half a signature after a whole one.
    assert!(bed.check(FILE, format!("{PLAIN}untrusted comment: x\n").as_bytes()).is_err());
    std::fs::remove_file(bed.folder.path().join("a.wasm.minisig")).unwrap();
    let vouch = bed.trust.vouch(&bed.folder.path().join("a.wasm"), None);
    assert!(vouch.check("a.wasm", FILE).unwrap_err().contains("not signed"));
}

#[test]
fn a_signature_of_another_plugin_or_an_older_one_is_refused() {
    let bed = bed(KEYS);
    let refusal = bed.refusal(FILE, OF_B.as_bytes());
    assert!(refusal.contains("does not name the file"), "{refusal}");
    bed.trust.record(&[FileVersion { file: "a.wasm".to_owned(), version: "1.11".parse().unwrap() }]);
    let refusal = bed.refusal(FILE, VERSION_1_10.as_bytes());
    assert!(
        refusal.contains("1.10") && refusal.contains("1.11") && refusal.contains("--allow-older"),
        "{refusal}"
    );
    assert!(bed.refusal(FILE, PLAIN.as_bytes()).contains("names no version"));
}

#[test]
fn a_signature_that_comes_with_an_upload_is_the_one_that_counts() {
    let bed = bed(KEYS);
    let wasm = bed.folder.path().join("a.wasm");
    std::fs::write(bed.folder.path().join("a.wasm.minisig"), PLAIN).unwrap();
    let vouch = bed.trust.vouch(&wasm, Some(OF_B.as_bytes()));
    assert!(vouch.check_wasm(&wasm, FILE).is_err());
    // It is of the plugin file only.
    let vouch = bed.trust.vouch(&wasm, Some(PLAIN.as_bytes()));
    assert!(vouch.check_wasm(&wasm, FILE).is_ok() && vouch.check("a.toml", FILE).is_err());
}

#[test]
fn keys_have_to_be_keys() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.pub");
    for (text, said) in [
        ("", "no key"),
        ("untrusted comment: x\n", "no key"),
        ("RWQ", "line 1 is no public key"),
        (PLAIN, "line 2 is no public key"),
    ] {
        std::fs::write(&file, text).unwrap();
        let refusal = SigningKeys::read(&file).unwrap_err().to_string();
        assert!(refusal.contains(said) && refusal.contains("keys.pub"), "{refusal}");
    }
    assert!(SigningKeys::read(&folder.path().join("missing")).is_err());
    std::fs::write(&file, format!("{KEYS}\n{OTHER_KEYS}")).unwrap();
    assert_eq!(SigningKeys::read(&file).unwrap().count(), 2);
}

#[test]
fn a_listed_file_is_one_with_this_name_and_these_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let digest = format::hex(&Sha256::digest(FILE));
    std::fs::write(folder.path().join(LIST_FILE), format!("\"a.wasm\" = \"{digest}\"")).unwrap();
    let trust = Trust::new(PluginTrust::Listed(folder.path().to_owned()));
    let check = |name: &str, bytes: &[u8]| {
        let wasm = folder.path().join(name);
        trust.vouch(&wasm, None).check_wasm(&wasm, bytes)
    };
    assert_eq!(check("a.wasm", FILE), Ok(()));
    for (name, bytes) in [("a.wasm", &b"two"[..]), ("b.wasm", FILE), ("trusted.wasm", FILE)] {
        assert!(check(name, bytes).is_err(), "{name}");
    }
    assert!(check("b.wasm", FILE).unwrap_err().contains("wasmill plugin trust b.wasm"));
    std::fs::write(folder.path().join(LIST_FILE), "a.wasm = true").unwrap();
    assert!(check("a.wasm", FILE).unwrap_err().contains("not valid"));
    std::fs::remove_file(folder.path().join(LIST_FILE)).unwrap();
    assert!(check("a.wasm", FILE).unwrap_err().contains("not listed"));
}
