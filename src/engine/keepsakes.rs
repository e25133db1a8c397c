//! Files that are read when the engine starts and written when it ends: cookies and server
//! statistics.

use std::sync::Arc;

use tracing::{info, warn};

use crate::option::settings::EngineSettings;
use crate::transfer::World;

/// Reads what the options name. A file that is missing is no reason not to start.
pub fn load(world: &World, settings: &EngineSettings) {
    if let Some(path) = &settings.load_cookies {
        match world.net.cookies().load(path) {
            Ok(count) => info!("{count} cookies loaded from {}", path.display()),
            Err(error) => warn!("No cookies from {}: {error}", path.display()),
        }
    }
    if let Some(path) = &settings.server_stat_in
        && let Err(error) = world.stats.load(path, settings.server_stat_timeout)
    {
        warn!("No server statistics from {}: {error}", path.display());
    }
}

/// Writes what the options of the end name; `save-cookies` may have been set meanwhile.
pub fn save(world: &Arc<World>, settings: &EngineSettings) {
    if let Some(path) = &settings.save_cookies
        && let Err(error) = world.net.cookies().save(path)
    {
        warn!("Cookies cannot be saved to {}: {error}", path.display());
    }
    if let Some(path) = &settings.server_stat_out
        && let Err(error) = world.stats.save(path)
    {
        warn!(
            "Server statistics cannot be saved to {}: {error}",
            path.display()
        );
    }
}
