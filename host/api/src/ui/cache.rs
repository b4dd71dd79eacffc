//! What polls of pages share: one rendering of each page every half second, however many look at it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// How long a rendering is good.
const FRESH: Duration = Duration::from_millis(500);
/// Renderings that are kept.
const PAGES_MAX: usize = 256;
/// Renderings at once, so that readers never take more than these many threads from the tasks.
const RENDERINGS_MAX: usize = 2;
/// A page is polled no faster than this, and slower the longer it takes: a reader costs at most 5 % of a core.
const POLL: Duration = Duration::from_secs(1);
const POLL_FACTOR: u32 = 20;

/// The renderings. Cheap to clone.
#[derive(Clone)]
pub(crate) struct PageCache {
    pages: Arc<Mutex<HashMap<PageKey, Slot>>>,
    renderings: Arc<Semaphore>,
}

/// What a rendering depends on: the URL, and who reads it.
pub(crate) type PageKey = (String, Option<Arc<str>>);
type Slot = Arc<AsyncMutex<Option<Kept>>>;

/// A rendering.
#[derive(Clone)]
pub(crate) struct Kept {
    pub(crate) html: Bytes,
    pub(crate) etag: String,
    /// When to ask again.
    pub(crate) poll_after: Duration,
    rendered_at: Instant,
}

/// The right to render a page; others that want the same page wait for it.
pub(crate) struct Turn {
    slot: OwnedMutexGuard<Option<Kept>>,
    _permit: Option<OwnedSemaphorePermit>,
    started_at: Instant,
}

impl Default for PageCache {
    fn default() -> Self {
        Self { pages: Arc::default(), renderings: Arc::new(Semaphore::new(RENDERINGS_MAX)) }
    }
}

impl PageCache {
    /// Waits until nobody else renders this page.
    pub(crate) async fn turn(&self, key: PageKey) -> Turn {
        let slot = self.slot(key).lock_owned().await;
        let is_fresh = slot.as_ref().is_some_and(Kept::is_fresh);
        let permit = if is_fresh { None } else { Arc::clone(&self.renderings).acquire_owned().await.ok() };
        Turn { slot, _permit: permit, started_at: Instant::now() }
    }

    fn slot(&self, key: PageKey) -> Slot {
        let mut pages = self.pages.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if pages.len() >= PAGES_MAX && !pages.contains_key(&key) {
            // A slot that is being rendered is locked, and kept.
            pages.retain(|_, slot| {
                slot.try_lock().map_or(true, |kept| kept.as_ref().is_some_and(Kept::is_fresh))
            });
            if pages.len() >= PAGES_MAX {
                return Slot::default();
            }
        }
        Arc::clone(pages.entry(key).or_default())
    }
}

impl Kept {
    fn is_fresh(&self) -> bool {
        self.rendered_at.elapsed() < FRESH
    }
}

impl Turn {
    /// Returns the rendering of somebody else, if it is good.
    pub(crate) fn kept(&self) -> Option<Kept> {
        self.slot.clone().filter(Kept::is_fresh)
    }

    /// Keeps a rendering.
    pub(crate) fn keep(mut self, html: Bytes, etag: String) -> Kept {
        let poll_after = poll_after(self.started_at.elapsed());
        let kept = Kept { html, etag, poll_after, rendered_at: Instant::now() };
        *self.slot = Some(kept.clone());
        kept
    }
}

/// Returns when to ask again for a page that took this long.
fn poll_after(took: Duration) -> Duration {
    POLL.max(took * POLL_FACTOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes every rendering of the cache old.
    fn age(cache: &PageCache) {
        let old = Instant::now().checked_sub(FRESH).expect("the machine runs for longer");
        for slot in cache.pages.lock().expect("not poisoned").values() {
            if let Some(kept) = &mut *slot.try_lock().expect("nobody renders") {
                kept.rendered_at = old;
            }
        }
    }

    #[tokio::test]
    async fn a_page_is_rendered_once_for_all_who_look() {
        let cache = PageCache::default();
        let key = || ("/ui/".to_owned(), None);
        let turn = cache.turn(key()).await;
        assert!(turn.kept().is_none());
        let other = tokio::spawn({
            let cache = cache.clone();
            async move { cache.turn(key()).await.kept().map(|kept| kept.etag) }
        });
        turn.keep(Bytes::from_static(b"<p>"), "1".to_owned());
        assert_eq!(other.await.expect("joins"), Some("1".to_owned()));
        let reader = ("/ui/".to_owned(), Some(Arc::from("key")));
        assert!(cache.turn(reader).await.kept().is_none(), "another key may see something else");
        age(&cache);
        assert!(cache.turn(key()).await.kept().is_none());
    }

    #[tokio::test]
    async fn kept_pages_are_bounded() {
        let cache = PageCache::default();
        for page in 0..2 * PAGES_MAX {
            let turn = cache.turn((page.to_string(), None)).await;
            turn.keep(Bytes::new(), String::new());
        }
        assert!(cache.pages.lock().expect("not poisoned").len() <= PAGES_MAX);
        age(&cache);
        drop(cache.turn(("new".to_owned(), None)).await);
        assert!(cache.pages.lock().expect("not poisoned").len() <= PAGES_MAX);
    }

    #[test]
    fn a_page_that_takes_long_is_polled_seldom() {
        assert_eq!(poll_after(Duration::from_millis(200)), Duration::from_secs(4));
        assert_eq!(poll_after(Duration::from_millis(1)), POLL);
    }
}
