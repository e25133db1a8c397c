//! Pure: the bytes to be written to a peer, encrypted as they are queued; blocks are not copied
//! unless they have to be encrypted.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf as _, Bytes, BytesMut};

use crate::bittorrent::mse::Cipher;
use crate::bittorrent::wire::{Message, piece_head};

/// Parts handed to the system at once.
pub const SLICE_COUNT: usize = 64;

pub struct Output {
    encrypt: Cipher,
    /// Without empty ones.
    parts: VecDeque<Bytes>,
    /// Small messages that follow the parts.
    tail: BytesMut,
    len: usize,
}

impl Output {
    pub fn new(encrypt: Cipher) -> Self {
        Self {
            encrypt,
            parts: VecDeque::new(),
            tail: BytesMut::new(),
            len: 0,
        }
    }

    /// Bytes queued.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn push(&mut self, message: &Message) {
        let before = self.tail.len();
        match message {
            Message::Piece { piece, begin, data } if self.encrypt.is_plain() => {
                let head = piece_head(*piece, *begin, data.len());
                self.tail.extend_from_slice(&head);
                self.seal();
                if !data.is_empty() {
                    self.parts.push_back(data.clone());
                }
                self.len += head.len() + data.len();
            }
            _ => {
                message.encode(&mut self.tail);
                self.encrypt.apply(&mut self.tail[before..]);
                self.len += self.tail.len() - before;
            }
        }
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.parts.push_back(self.tail.split().freeze());
        }
    }

    /// What is to be written next, as far as it fits; gives how many slices there are.
    pub fn fill<'a>(&'a mut self, slices: &mut [IoSlice<'a>]) -> usize {
        self.seal();
        let mut count = 0;
        for (slice, part) in slices.iter_mut().zip(&self.parts) {
            *slice = IoSlice::new(part);
            count += 1;
        }
        count
    }

    /// So many bytes have been written.
    pub fn advance(&mut self, mut count: usize) {
        self.len -= count.min(self.len);
        while let Some(part) = self.parts.front_mut() {
            if count < part.len() {
                part.advance(count);
                return;
            }
            count -= part.len();
            self.parts.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::units::PieceIdx;
    use crate::bittorrent::mse::Rc4;
    use crate::bittorrent::wire::decode;

    fn drain(output: &mut Output, step: usize) -> Vec<u8> {
        let mut written = Vec::new();
        while output.len() > 0 {
            let mut slices = [IoSlice::new(&[]); 3];
            let count = output.fill(&mut slices);
            let bytes: Vec<u8> = slices[..count]
                .iter()
                .flat_map(|slice| slice.to_vec())
                .collect();
            let some = step.min(bytes.len());
            written.extend_from_slice(&bytes[..some]);
            output.advance(some);
        }
        written
    }

    #[test]
    fn what_goes_in_comes_out_whatever_the_steps_and_the_cipher() {
        let data = Bytes::from(vec![7; 1000]);
        let messages = [
            Message::Unchoke,
            Message::Piece {
                piece: PieceIdx(1),
                begin: 0,
                data: data.clone(),
            },
            Message::Piece {
                piece: PieceIdx(2),
                begin: 9,
                data,
            },
            Message::Have(PieceIdx(3)),
            Message::KeepAlive,
        ];
        for encrypted in [false, true] {
            for step in [1, 13, 100, 5000] {
                let cipher = |on: bool| match on {
                    true => Cipher::Rc4(Box::new(Rc4::keyed(&[1; 20]))),
                    false => Cipher::Plain,
                };
                let mut output = Output::new(cipher(encrypted));
                for message in &messages {
                    output.push(message);
                }
                let mut written = drain(&mut output, step);
                cipher(encrypted).apply(&mut written);
                let mut input = BytesMut::from(&written[..]);
                for message in &messages {
                    assert_eq!(decode(&mut input).unwrap().as_ref(), Some(message));
                }
                assert!(input.is_empty());
            }
        }
    }
}
