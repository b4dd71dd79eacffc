//! Lines that are written, rotated and read, and a disk that is full.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::*;

fn line(number: u16) -> AuditLine {
    let time = "2026-11-29T12:00:00.000Z".to_owned();
    let did = "drain".to_owned();
    let (path, details) = ("/drain".to_owned(), AuditDetails::default());
    AuditLine { time, who: None, from: None, did, path, outcome: Some(number), details }
}

fn outcomes(path: &Path) -> Vec<u16> {
    let mut outcomes = Vec::new();
    read_audit(path, |line| outcomes.extend(line.outcome)).unwrap();
    outcomes
}

#[tokio::test]
async fn lines_are_written_in_order_and_only_the_owner_may_read_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    let audit = Audit::start(AuditTarget::File(path.clone())).unwrap();
    (0..1_000).for_each(|number| audit.tell(line(number)));
    audit.flush().await;
    assert_eq!((outcomes(&path), audit.lost()), ((0..1_000).collect(), 0));
    assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
    // Another program that rotates it takes no line away.
    std::fs::rename(&path, folder.path().join("moved")).unwrap();
    audit.tell(line(7));
    audit.flush().await;
    assert_eq!(outcomes(&path), [7]);
    // Half a line is no line.
    std::fs::write(&path, format!("{}\n{{\"time\":\"2026\n", serde_json::to_string(&line(1)).unwrap()))
        .unwrap();
    assert_eq!(outcomes(&path), [1]);
}

#[test]
fn a_file_is_rotated_by_its_size_and_five_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    let mut file = AuditFile::open(path.clone()).unwrap().with_bytes_max(250);
    (0..20).for_each(|number| file.append(&[line(number)]).unwrap());
    let kept = outcomes(&path);
    assert_eq!(kept, (8..20).collect::<Vec<_>>(), "two lines in each of six files");
    assert_eq!(folder.path().read_dir().unwrap().count(), 6);
}

#[tokio::test]
async fn a_full_disk_loses_lines_and_counts_them() {
    let audit = Audit::start(AuditTarget::File("/dev/full".into())).unwrap();
    (0..10).for_each(|number| audit.tell(line(number)));
    audit.flush().await;
    assert_eq!(audit.lost(), 10);
    assert!(Audit::start(AuditTarget::File("/no/such/folder/audit.log".into())).is_err());
}

#[test]
fn lines_without_details_are_those_of_earlier_versions() {
    let text = serde_json::to_string(&line(200)).unwrap();
    assert!(text.ends_with(r#""outcome":200}"#), "{text}");
    assert_eq!(serde_json::from_str::<AuditLine>(&text).unwrap(), line(200));
    let counted = line(200).with(AuditDetails::count(412));
    let text = serde_json::to_string(&counted).unwrap();
    assert!(text.ends_with(r#""outcome":200,"count":412}"#), "{text}");
    assert_eq!(serde_json::from_str::<AuditLine>(&text).unwrap(), counted);
}

#[tokio::test]
async fn a_line_that_is_awaited_is_in_the_file_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    let audit = Audit::start(AuditTarget::File(path.clone())).unwrap();
    for number in 0..100 {
        assert!(audit.write(line(number)).await);
        assert_eq!(outcomes(&path).last(), Some(&number), "without a flush");
    }
    let full = Audit::start(AuditTarget::File("/dev/full".into())).unwrap();
    full.tell(line(1));
    assert!(!full.write(line(2)).await && !full.write(line(3)).await);
    assert_eq!((audit.lost(), full.lost()), (0, 3));
    assert!(Audit::start(AuditTarget::Log).unwrap().write(line(1)).await);
}
