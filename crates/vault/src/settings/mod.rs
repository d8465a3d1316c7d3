//! What operators set for the server as a whole, by `sys/config/`.
//!
//! One entry each under `sys/config/`: `cors`, `ui-headers`, `audited-headers`. They are few and
//! every request needs them, so they are kept in memory.

mod cors;
mod headers;

use arc_swap::ArcSwap;
use holdfast_barrier::{EntryError, View};
use tokio::sync::Mutex;

pub(crate) use self::cors::{Cors, CorsVerdict, STANDARD_HEADERS};
pub(crate) use self::headers::{AuditedHeaders, UiHeaders};

const CORS: &str = "cors";
const UI_HEADERS: &str = "ui-headers";
const AUDITED: &str = "audited-headers";

/// All of them.
pub(crate) struct Settings {
    store: View,
    /// Held over every change.
    change: Mutex<()>,
    cors: ArcSwap<Cors>,
    ui_headers: ArcSwap<UiHeaders>,
    audited: ArcSwap<AuditedHeaders>,
}

impl Settings {
    /// Those in the store under `root`.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn load(root: &View) -> Result<Self, EntryError> {
        let store = root.sub("sys/config/");
        Ok(Self {
            cors: ArcSwap::from_pointee(store.get_json(CORS).await?.unwrap_or_default()),
            ui_headers: ArcSwap::from_pointee(
                store.get_json(UI_HEADERS).await?.unwrap_or_default(),
            ),
            audited: ArcSwap::from_pointee(store.get_json(AUDITED).await?.unwrap_or_default()),
            store,
            change: Mutex::new(()),
        })
    }

    /// Which web pages may ask.
    pub(crate) fn cors(&self) -> arc_swap::Guard<std::sync::Arc<Cors>> {
        self.cors.load()
    }

    pub(crate) async fn set_cors(&self, cors: Cors) -> Result<(), EntryError> {
        let _change = self.change.lock().await;
        self.store.put_json(CORS, &cors).await?;
        self.cors.store(cors.into());
        Ok(())
    }

    /// Header fields for pages of a user interface.
    pub(crate) fn ui_headers(&self) -> arc_swap::Guard<std::sync::Arc<UiHeaders>> {
        self.ui_headers.load()
    }

    pub(crate) async fn change_ui_headers(
        &self,
        change: impl FnOnce(&mut UiHeaders) + Send,
    ) -> Result<(), EntryError> {
        let _change = self.change.lock().await;
        let mut headers = UiHeaders::clone(&self.ui_headers.load());
        change(&mut headers);
        self.store.put_json(UI_HEADERS, &headers).await?;
        self.ui_headers.store(headers.into());
        Ok(())
    }

    /// Header fields of requests that audit records.
    pub(crate) fn audited(&self) -> arc_swap::Guard<std::sync::Arc<AuditedHeaders>> {
        self.audited.load()
    }

    pub(crate) async fn change_audited(
        &self,
        change: impl FnOnce(&mut AuditedHeaders) + Send,
    ) -> Result<(), EntryError> {
        let _change = self.change.lock().await;
        let mut headers = AuditedHeaders::clone(&self.audited.load());
        change(&mut headers);
        self.store.put_json(AUDITED, &headers).await?;
        self.audited.store(headers.into());
        Ok(())
    }
}
