//! Asks the router to let peers in, as long as it runs: by PCP or NAT-PMP, which every router with
//! them answers at once, or else by UPnP (IGD).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

use crab_nat::{InternetProtocol, PortMapping, PortMappingOptions, TimeoutConfig};
use igd_next::aio::Gateway;
use igd_next::aio::tokio::{Tokio, search_gateway};
use igd_next::{PortMappingProtocol, SearchOptions};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::base::product;

/// What is asked for; renewed in half of what the router grants, so that a crash leaves no door open
/// for long.
const LIFETIME: Duration = Duration::from_secs(3_600);
/// Nothing is renewed more often, however little is granted (RFC 6887, 11.2.1).
const RENEW_AFTER_MIN: Duration = Duration::from_secs(4);
/// Where no router helps it is asked again: it may have been off.
const AGAIN_AFTER: Duration = Duration::from_secs(900);
const ASK_TIMES: TimeoutConfig = TimeoutConfig {
    initial_timeout: Duration::from_millis(250),
    max_retries: 3,
    max_retry_timeout: None,
};
const SEARCH_TIME: Duration = Duration::from_secs(6);
/// For taking mappings back at the end.
const STOP_TIME: Duration = Duration::from_secs(2);

/// The mappings of the process; to be kept until the end.
pub struct PortMapper {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl PortMapper {
    /// Begins to ask for these ports, and renews the mappings. Needs a tokio runtime.
    pub fn start(tcp: Option<u16>, udp: Vec<u16>) -> Self {
        let door = |protocol| {
            move |port| {
                Some(Door {
                    protocol,
                    port: NonZeroU16::new(port)?,
                })
            }
        };
        let mut doors: Vec<Door> = tcp
            .and_then(door(InternetProtocol::Tcp))
            .into_iter()
            .collect();
        doors.extend(udp.into_iter().filter_map(door(InternetProtocol::Udp)));
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(run(doors, stopped));
        Self { stop, task }
    }

    /// Takes the mappings back, for a second or two at most.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        let mut task = self.task;
        if tokio::time::timeout(STOP_TIME, &mut task).await.is_err() {
            task.abort();
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Door {
    protocol: InternetProtocol,
    port: NonZeroU16,
}

/// One port that the router has opened.
enum Mapping {
    Pcp(PortMapping),
    Upnp(Box<Gateway<Tokio>>, Door, IpAddr),
}

impl Mapping {
    /// How long it lasts from when it was asked for.
    fn lifetime(&self) -> Duration {
        match self {
            Self::Pcp(mapping) => Duration::from_secs(mapping.lifetime().into()),
            Self::Upnp(..) => LIFETIME,
        }
    }

    /// Asks for it again, as who asked before: a PCP server refuses it to others.
    async fn renew(&mut self) -> Result<(), String> {
        match self {
            Self::Pcp(mapping) => mapping.renew().await.map_err(|error| error.to_string()),
            Self::Upnp(gateway, door, own) => add_by_upnp(gateway, *door, *own).await,
        }
    }

    async fn take_back(self) {
        match self {
            Self::Pcp(mapping) => drop(mapping.try_drop().await),
            Self::Upnp(gateway, door, _) => {
                let protocol = of_upnp(door.protocol);
                let _ = gateway.remove_port(protocol, door.port.get()).await;
            }
        }
    }
}

async fn run(doors: Vec<Door>, mut stopped: oneshot::Receiver<()>) {
    let mut open = Vec::new();
    loop {
        let asking = async {
            renew_all(&mut open).await;
            if open.is_empty() {
                open_all(&doors, &mut open).await;
            }
            tokio::time::sleep(until_next(&open)).await;
        };
        tokio::select! {
            () = asking => {}
            _ = &mut stopped => break,
        }
    }
    take_all_back(&mut open).await;
}

fn until_next(open: &[Mapping]) -> Duration {
    let shortest = open.iter().map(Mapping::lifetime).min();
    shortest.map_or(AGAIN_AFTER, |lifetime| (lifetime / 2).max(RENEW_AFTER_MIN))
}

/// Leaves none where one is refused: it may be another router by now.
async fn renew_all(open: &mut Vec<Mapping>) {
    for mapping in open.iter_mut() {
        if let Err(why) = mapping.renew().await {
            info!("The router takes a port back: {why}");
            return open.clear();
        }
    }
}

async fn take_all_back(open: &mut Vec<Mapping>) {
    for mapping in open.drain(..) {
        mapping.take_back().await;
    }
}

/// Puts what the router has opened into `open`.
async fn open_all(doors: &[Door], open: &mut Vec<Mapping>) {
    let Some((router, own)) = router().await else {
        return warn!("No port is mapped: there is no router (default route).");
    };
    let Err(why) = by_pcp(doors, router, own, open).await else {
        return;
    };
    info!("The router does not help by PCP or NAT-PMP: {why}");
    take_all_back(open).await;
    if let Err(why) = by_upnp(doors, own, open).await {
        warn!("No port is mapped, the router does not help: {why}");
    }
}

async fn by_pcp(
    doors: &[Door],
    router: IpAddr,
    own: IpAddr,
    open: &mut Vec<Mapping>,
) -> Result<(), String> {
    for door in doors {
        let options = PortMappingOptions {
            external_port: Some(door.port),
            lifetime_seconds: Some(LIFETIME.as_secs() as u32),
            timeout_config: Some(ASK_TIMES),
        };
        let mapped = PortMapping::new(router.into(), own, door.protocol, door.port, options).await;
        let mapping = mapped.map_err(|failure| failure.to_string())?;
        let external = mapping.external_port();
        info!("The router lets {:?} port {external} in.", door.protocol);
        if external != door.port {
            warn!(
                "Trackers are told port {}, which the router did not give.",
                door.port
            );
        }
        open.push(Mapping::Pcp(mapping));
    }
    Ok(())
}

async fn by_upnp(doors: &[Door], own: IpAddr, open: &mut Vec<Mapping>) -> Result<(), String> {
    let mut options = SearchOptions::default();
    options.bind_addr = SocketAddr::new(own, 0);
    options.timeout = Some(SEARCH_TIME);
    let gateway = search_gateway(options)
        .await
        .map_err(|error| error.to_string())?;
    for door in doors {
        add_by_upnp(&gateway, *door, own).await?;
        info!("The router lets {:?} port {} in.", door.protocol, door.port);
        open.push(Mapping::Upnp(Box::new(gateway.clone()), *door, own));
    }
    Ok(())
}

async fn add_by_upnp(gateway: &Gateway<Tokio>, door: Door, own: IpAddr) -> Result<(), String> {
    let (protocol, port) = (of_upnp(door.protocol), door.port.get());
    let to = SocketAddr::new(own, port);
    let seconds = LIFETIME.as_secs() as u32;
    let added = gateway.add_port(protocol, port, to, seconds, product::NAME);
    added.await.map_err(|error| error.to_string())
}

fn of_upnp(protocol: InternetProtocol) -> PortMappingProtocol {
    match protocol {
        InternetProtocol::Udp => PortMappingProtocol::UDP,
        InternetProtocol::Tcp => PortMappingProtocol::TCP,
    }
}

/// The router of the default route, and our address towards it.
async fn router() -> Option<(IpAddr, IpAddr)> {
    let read = tokio::task::spawn_blocking(|| std::fs::read_to_string("/proc/net/route"));
    let router = gateway_of(&read.await.ok()?.ok()?)?;
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // Sends nothing; the system chooses the address.
    socket.connect((router, 9)).ok()?;
    Some((router.into(), socket.local_addr().ok()?.ip()))
}

/// From the table of the kernel (proc_net(5)): numbers in hexadecimal, addresses as they lie in
/// memory.
fn gateway_of(table: &str) -> Option<Ipv4Addr> {
    table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_whitespace();
        let (destination, gateway) = (columns.nth(1)?, columns.next()?);
        let gateway = u32::from_str_radix(gateway, 16).ok()?;
        (destination == "00000000" && gateway != 0).then(|| gateway.to_ne_bytes().into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_endian = "little")]
    #[test]
    fn the_default_route_leads_to_the_router() {
        let table = "Iface\tDestination\tGateway \tFlags\nlo\t0000007F\t00000000\t0001\neth0\t0002A8C0\t00000000\t0001\neth0\t00000000\t0102A8C0\t0003\n";
        assert_eq!(gateway_of(table), Some([192, 168, 2, 1].into()));
        assert_eq!(gateway_of("Iface\n"), None);
    }

    #[tokio::test]
    async fn it_stops_in_time_whatever_the_router_does() {
        let mapper = PortMapper::start(None, Vec::new());
        let begun = std::time::Instant::now();
        mapper.stop().await;
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
}
