//! JSON-RPC over WebSocket (RFC 6455): messages are answered in order, events go out between.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tracing::debug;

use super::answer::{self, REFUSAL_DELAY};
use super::dispatch::Caller;
use super::http::Site;
use super::jsonrpc;
use super::request_room::{Counted, Held};

/// Answers that wait to be written; when there are more, no further message is read.
const ANSWERS_MAX: usize = 16;
/// Bytes of such answers. A longer one waits until it is alone.
const ANSWERS_LEN_MAX: usize = 4 << 20;
/// Answers to bad tokens that wait out their delay at the same time.
const REFUSALS_MAX: usize = 16;
/// How long a socket that is done may take to take the last frames.
const CLOSE_MAX: Duration = Duration::from_secs(2);
/// Idle sockets are many, so their buffers start small.
const BUFFER_LEN: usize = 4096;

/// Serves one socket to its end. A `guest` is a web page that would be refused without a secret.
pub async fn serve<T>(stream: T, site: &Site, guest: bool)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let held = Arc::new(site.room.enter());
    let stream = Counted::new(stream, Arc::clone(&held));
    let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config(site))).await;
    let (sink, stream) = socket.split();
    let (answers, queue) = mpsc::channel(ANSWERS_MAX);
    // Where a secret is set, strange web pages are told events once they have shown it. Programs
    // are told at once: many only listen here and call over HTTP.
    let hears_all = !guest || !site.dispatcher.gate().has_secret();
    let listening = Arc::new(AtomicBool::new(hears_all));
    let writer = Writer {
        sink,
        queue,
        notices: site.notices.subscribe(),
        listening: Arc::clone(&listening),
    };
    let reader = Reader {
        stream,
        answers,
        room: Arc::new(Semaphore::new(ANSWERS_LEN_MAX)),
        refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
        listening,
        held,
        site,
    };
    let mut writing = std::pin::pin!(writer.run());
    tokio::select! {
        // An answer is queued before the writer looks for the events it has led to.
        biased;
        () = reader.run() => {
            // What has been answered is still written.
            let _ = tokio::time::timeout(CLOSE_MAX, writing).await;
        }
        () = &mut writing => {}
    }
}

/// Messages beyond the limit are answered and the socket stays open; only what is far beyond is
/// not taken in at all.
fn config(site: &Site) -> WebSocketConfig {
    let limit = usize::try_from(site.request_len_max).unwrap_or(usize::MAX);
    let hard_limit = limit.saturating_mul(2).saturating_add(64 << 10);
    WebSocketConfig::default()
        .read_buffer_size(BUFFER_LEN)
        .write_buffer_size(0)
        .max_message_size(Some(hard_limit))
        .max_frame_size(Some(hard_limit))
}

/// A frame to be written, with the room it takes until then.
struct Queued {
    message: Message,
    room: OwnedSemaphorePermit,
}

async fn queue(room: &Arc<Semaphore>, answers: &mpsc::Sender<Queued>, message: Message) -> bool {
    let len = message.len().min(ANSWERS_LEN_MAX) as u32;
    let Ok(room) = Arc::clone(room).acquire_many_owned(len).await else {
        return false;
    };
    let queued = Queued { message, room };
    answers.send(queued).await.is_ok()
}

struct Reader<'a, T> {
    stream: SplitStream<WebSocketStream<T>>,
    answers: mpsc::Sender<Queued>,
    /// As many permits as bytes that may be queued.
    room: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    listening: Arc<AtomicBool>,
    /// Room for the message that is coming in or being answered.
    held: Arc<Held>,
    site: &'a Site,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Reader<'_, T> {
    /// Reads until the socket closes or nobody writes any more.
    async fn run(mut self) {
        while let Some(message) = self.stream.next().await {
            let going_on = match message {
                Ok(Message::Text(text)) => self.handle(text.as_bytes()).await,
                Ok(Message::Binary(data)) => self.handle(&data).await,
                // Pings and closes are answered by the protocol itself.
                Ok(_) => true,
                Err(error) => {
                    self.fail(&error).await;
                    false
                }
            };
            if !going_on {
                return;
            }
            self.held.clear();
        }
    }

    /// Answers a message; false when the writer is gone.
    async fn handle(&self, message: &[u8]) -> bool {
        if message.len() as u64 > self.site.request_len_max {
            return self.send(answer::unreadable()).await;
        }
        let caller = Arc::new(Caller::default());
        let parsed = jsonrpc::parse(message);
        let answer = answer::json(&self.site.dispatcher, &caller, parsed).await;
        if caller.was_granted() {
            self.listening.store(true, Ordering::Relaxed);
        }
        if caller.was_refused() {
            return self.send_later(answer.body).await;
        }
        self.send(answer.body).await
    }

    async fn send(&self, body: String) -> bool {
        queue(&self.room, &self.answers, Message::text(body)).await
    }

    /// Sends the answer to a bad token after its delay. Later messages are answered meanwhile,
    /// unless bad tokens come by the dozen.
    async fn send_later(&self, body: String) -> bool {
        let Ok(permit) = Arc::clone(&self.refusals).acquire_owned().await else {
            return false;
        };
        let answers = self.answers.clone();
        let room = Arc::clone(&self.room);
        tokio::spawn(async move {
            tokio::time::sleep(REFUSAL_DELAY).await;
            // An error means that the socket has closed.
            let _ = queue(&room, &answers, Message::text(body)).await;
            drop(permit);
        });
        !self.answers.is_closed()
    }

    /// Says why the socket closes, where there is anything to say.
    async fn fail(&self, error: &Error) {
        debug!(%error, "WebSocket failed");
        let code = match error {
            Error::Utf8(_) => CloseCode::Invalid,
            Error::Capacity(_) => {
                self.send(answer::unreadable()).await;
                CloseCode::Size
            }
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => return,
            Error::Protocol(_) => CloseCode::Protocol,
            Error::Io(error) if error.kind() == ErrorKind::OutOfMemory => CloseCode::Again,
            _ => return,
        };
        let frame = CloseFrame {
            code,
            reason: Utf8Bytes::from_static(""),
        };
        queue(&self.room, &self.answers, Message::Close(Some(frame))).await;
    }
}

struct Writer<T> {
    sink: SplitSink<WebSocketStream<T>, Message>,
    queue: mpsc::Receiver<Queued>,
    notices: broadcast::Receiver<Utf8Bytes>,
    listening: Arc<AtomicBool>,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Writer<T> {
    /// Writes answers and events until the reader ends, the peer stops reading or falls too far
    /// behind the events.
    async fn run(mut self) {
        loop {
            // Answers first: the start of a download is told after its GID.
            // The room is held until the answer has been written.
            let (message, _room) = tokio::select! {
                biased;
                answer = self.queue.recv() => match answer {
                    Some(answer) => (answer.message, Some(answer.room)),
                    None => break,
                },
                notice = self.notices.recv() => match notice {
                    Ok(_) if !self.listening.load(Ordering::Relaxed) => continue,
                    Ok(notice) => (Message::Text(notice), None),
                    Err(_) => break,
                },
            };
            if self.sink.send(message).await.is_err() {
                return;
            }
        }
        let _ = tokio::time::timeout(CLOSE_MAX, self.sink.close()).await;
    }
}
