//! What a waiting download costs. aria2c takes 12.1 KB for each.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, Ordering};

use arioso::{AddRequest, Engine, EngineConfig, keys};

/// Counts what is allocated, as the heap rounds it: 8 bytes of its own, in steps of 16.
struct Counting;

static HELD: AtomicIsize = AtomicIsize::new(0);

fn size(layout: Layout) -> isize {
    ((layout.size() + 8).max(32).next_multiple_of(16)) as isize
}

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(size(layout), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(size(layout), Ordering::Relaxed);
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const COUNT: usize = 10_000;

#[test]
fn ten_thousand_waiting_downloads_are_small() {
    let engine = Engine::start(EngineConfig::default()).unwrap();
    let handle = engine.handle();
    let add_all = |prefix: &'static str, with_options: bool| {
        let handle = handle.clone();
        engine.block_on(async move {
            let before = HELD.load(Ordering::Relaxed);
            for number in 0..COUNT {
                let uri = format!("http://example.com/{prefix}/some/path/file-{number:06}.bin");
                let mut request = AddRequest::uris([uri]).with(keys::PAUSE, "true");
                if with_options {
                    request = request
                        .with(keys::DIR, "/srv/downloads/incoming")
                        .with(keys::OUT, format!("file-{number:06}.bin"))
                        .with(keys::SPLIT, "16");
                }
                handle.add(request, None).await.unwrap();
            }
            (HELD.load(Ordering::Relaxed) - before) as usize / COUNT
        })
    };
    let plain = add_all("plain", false);
    let with_options = add_all("options", true);
    println!("bytes a waiting download: {plain}, with three options {with_options}");
    assert!(plain <= 500, "{plain}");
    assert!(with_options <= 700, "{with_options}");
}
