//! What is taken over when the engine starts and left when it ends, apart from downloads: cookies,
//! server statistics, files that are known to be finished.

use std::path::Path;
use std::sync::Arc;

use tracing::{info, warn};

use super::Registry;
use crate::option::keys::FORCE_SAVE;
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

/// Finished files of earlier processes whose control files stay.
pub fn claim_kept(world: &World, registry: &Registry) {
    let finished = registry.stopped().filter(|download| {
        let is_file = download.brief().is_none() && download.options().get(FORCE_SAVE);
        is_file && download.status() == "complete"
    });
    for download in finished {
        let path = download.path();
        world.paths.keep(Path::new(&path), download.gid());
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
