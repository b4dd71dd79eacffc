//! The database of a server: the embedded one in the data folder, or PostgreSQL.

use anyhow::{Result, anyhow, ensure};
use wasmill_model::{Timestamp, Tracer, without_bom};
use wasmill_runtime::{read_file, read_text};
use wasmill_store::{Recovery, Store};
use wasmill_store_postgres::{Address, Place, PostgresConfig};
use wasmill_store_sqlite::SqliteConfig;

use crate::exit;
use crate::settings::Settings;

/// Maximum sizes of the files with certificates and with a password.
const ROOTS_BYTES_MAX: u64 = 1 << 20;
const PASSWORD_BYTES_MAX: u64 = 64 << 10;

/// A database that is checked, and nothing of it changed.
pub(crate) enum Database {
    Embedded(Box<wasmill_store_sqlite::Database>),
    Postgres(Box<wasmill_store_postgres::Database>),
}

impl Database {
    /// Opens the database that the settings name. Other hosts compare the fingerprint of the webhook secrets.
    pub(crate) async fn open(settings: &Settings, tracer: &Tracer, webhook_secrets: String) -> Result<Self> {
        let waiting_max = settings.waiting_max;
        let log_bytes_max = usize::try_from(settings.log_total.as_u64())?;
        let tracer = tracer.clone();
        if let Some(address) = address(settings)? {
            let migrate = settings.database_migrate;
            let place = Place::in_folder(&settings.data)?;
            let config = PostgresConfig {
                migrate,
                waiting_max,
                log_bytes_max,
                tracer,
                settings: settings.shared(webhook_secrets),
                ..PostgresConfig::new(address, place)
            };

            let open = move || wasmill_store_postgres::Database::open(config);
            return Ok(Self::Postgres(Box::new(tokio::task::spawn_blocking(open).await??)));
        }
        let config = SqliteConfig { waiting_max, log_bytes_max, tracer, ..SqliteConfig::new(&settings.data) };
        let open = move || wasmill_store_sqlite::Database::open(config);
        Ok(Self::Embedded(Box::new(tokio::task::spawn_blocking(open).await??)))
    }

    /// Recovers the tasks that ran when the last host died, and starts to write.
    pub(crate) async fn start(self, now: Timestamp) -> Result<(Store, Recovery)> {
        let start = move || match self {
            Self::Embedded(database) => database.start(now),
            Self::Postgres(database) => database.start(now),
        };
        Ok(tokio::task::spawn_blocking(start).await??)
    }
}

/// Returns the address of the PostgreSQL database that the settings name, if any.
pub(crate) fn address(settings: &Settings) -> Result<Option<Address>> {
    let Some(url) = &settings.database else { return Ok(None) };
    let read = || -> Result<Address> {
        let roots = settings.database_ca.as_ref().map(|path| {
            let read = read_file(path, ROOTS_BYTES_MAX);
            read.map_err(|error| exit::read_error(format!("database_ca {}", path.display()), &error))
        });
        let (password, roots) = (password(settings)?, roots.transpose()?);
        let address = Address::new(url.secret(), password.as_deref(), roots.as_deref());
        address.map_err(|reason| anyhow!("invalid value for --database: {reason}"))
    };
    read().map(Some).map_err(exit::settings_error)
}

fn password(settings: &Settings) -> Result<Option<String>> {
    let Some(path) = &settings.database_password_file else { return Ok(None) };
    let shown = format!("database_password_file {}", path.display());
    let text = read_text(path, PASSWORD_BYTES_MAX).map_err(|error| exit::read_error(&shown, &error))?;
    let password = without_bom(&text).trim_end_matches(['\r', '\n']);
    ensure!(!password.is_empty(), "{shown} is empty");
    Ok(Some(password.to_owned()))
}
