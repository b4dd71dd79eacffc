//! Plugins that all hosts share.

use wasmill_store::{PluginFiles, PluginSignatures, PublishedPlugin, Store};
use wasmill_store_suite::Fixture;
use wasmill_store_suite::fixture::{at, plugin};

use crate::cluster::Schema;
use crate::hosts::host;

/// Files of a plugin of this many bytes.
fn files(bundle: &str, bytes: usize) -> PluginFiles {
    let schema = Some(("in.json".to_owned(), b"{}".to_vec()));
    let wasm = (0..bytes).map(|n| (n % 251) as u8).collect();
    let (bundle, digest) = (bundle.to_owned(), format!("digest of {bundle}"));
    let signatures = PluginSignatures { wasm: Some(b"s".to_vec()), ..PluginSignatures::default() };
    PluginFiles { bundle, digest, wasm, manifest: Some(b"m".to_vec()), schema, signatures }
}

async fn publish(store: &Store, name: &str, files: &PluginFiles) -> i64 {
    store.publish_plugin(plugin(name), files.clone(), at(1)).await.expect("published")
}

async fn published(store: &Store) -> Vec<PublishedPlugin> {
    store.published_plugins().await.expect("read")
}

#[tokio::test]
async fn what_one_host_publishes_another_one_reads() {
    let schema = Schema::new();
    let (a, b) = (host(&schema, "a"), host(&schema, "b"));
    assert!(a.shares_plugins());
    let first = files("one", (2 << 20) + 5);
    assert_eq!(publish(&a, "p", &first).await, 1);
    assert_eq!(publish(&b, "q", &files("two", 1)).await, 2);
    let found = published(&b).await;
    assert_eq!((found[0].name.as_str(), found[0].version, &*found[0].bundle), ("p", 1, "one"));
    assert_eq!(b.plugin_files(found[0].clone()).await, Ok(Some(first.clone())));
    // A newer one replaces it, whose bytes go.
    assert_eq!(publish(&b, "p", &files("three", 9)).await, 3);
    assert_eq!(a.plugin_files(found[0].clone()).await, Ok(None));
    let parts: i64 =
        schema.connect().await.query_one("SELECT count(*) FROM plugin_part", &[]).await.expect("read").get(0);
    assert_eq!(parts, 2);
    assert_eq!(a.unpublish_plugin(plugin("p"), Some("one".to_owned()), at(2)).await, Ok(None));
    assert_eq!(a.unpublish_plugin(plugin("p"), Some("three".to_owned()), at(2)).await, Ok(Some(4)));
    assert_eq!(a.unpublish_plugin(plugin("p"), None, at(2)).await, Ok(None));
    let found = published(&a).await;
    assert_eq!(
        found.iter().map(|plugin| (plugin.version, plugin.is_removed)).collect::<Vec<_>>(),
        [(2, false), (4, true)]
    );
    assert_eq!(a.plugin_files(found[1].clone()).await, Ok(None));
    assert_eq!(publish(&b, "p", &first).await, 5);
}

#[tokio::test]
async fn two_hosts_that_publish_at_once_get_two_versions() {
    let schema = Schema::new();
    let (a, b) = (host(&schema, "a"), host(&schema, "b"));
    for round in 0..10 {
        let (of_a, of_b) = (files(&format!("a{round}"), 3 << 20), files(&format!("b{round}"), 3 << 20));
        let (first, second) = tokio::join!(publish(&a, "p", &of_a), publish(&b, "p", &of_b));
        assert_ne!(first, second);
        let found = published(&a).await;
        assert_eq!((found.len(), found[0].version), (1, first.max(second)));
        let last = if first > second { of_a } else { of_b };
        assert_eq!(b.plugin_files(found[0].clone()).await, Ok(Some(last)));
    }
}
