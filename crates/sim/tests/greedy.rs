//! One client asks all it can, another one now and then: the second is served as if the first were not there.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests; a panic is how a test fails"
)]

use core::time::Duration;
use std::collections::VecDeque;

use dotward_core::front::Client;
use dotward_core::time::Moment;
use dotward_core::upstream::{ConnectionId, UpstreamConfig};
use dotward_core::wire::frame::{FrameReader, append_frame};
use dotward_core::wire::{QueryView, Rcode, ResponseComposer, ResponseView, Transport};
use dotward_sim::harness::{Harness, Taken};
use dotward_sim::laws;

/// How long the upstream takes, and how long all of it lasts.
const SLOWLY: Duration = Duration::from_millis(400);
const SPAN: u64 = 1_000;

/// Questions of the greedy client each millisecond: with an upstream that slow far more than may be in flight.
const GREED: u64 = 30;

/// Milliseconds between two questions of the modest one.
const MODESTY: u64 = 7;

/// What both ask for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    /// Another name each time.
    NewNames,
    /// One name, again and again.
    OneName,
    /// What is signed, which is asked for each of them alone.
    Signed,
}

fn client(last: u8) -> Client {
    Client {
        address: ([192, 0, 2, last], 4000).into(),
        transport: Transport::Udp,
        idle: Duration::from_secs(10),
    }
}

fn query(want: Want, number: u64) -> Vec<u8> {
    let label = match want {
        Want::OneName => "hot".to_owned(),
        Want::NewNames | Want::Signed => format!("n{number}"),
    };
    let additional = u8::from(want == Want::Signed);
    let mut message = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, additional];
    message.push(u8::try_from(label.len()).unwrap());
    message.extend_from_slice(label.as_bytes());
    message.extend_from_slice(b"\x07example\0\x00\x01\x00\x01");
    if want == Want::Signed {
        message.extend_from_slice(b"\x03key\0\x00\xfa\x00\xff\x00\x00\x00\x00\x00\x03MAC");
    }
    message
}

/// An upstream that answers everything, late.
#[derive(Default)]
struct Upstream {
    readers: Vec<(ConnectionId, FrameReader)>,
    answers: VecDeque<(Moment, ConnectionId, Vec<u8>)>,
}

impl Upstream {
    fn turn(&mut self, harness: &mut Harness) {
        while let Some(opened) = harness.opened.pop_front() {
            harness.connect(opened.connection);
            self.readers
                .push((opened.connection, FrameReader::default()));
        }
        for id in harness.poll_transmits() {
            let octets = harness.transmit(id, usize::MAX);
            let found = self.readers.iter_mut().find(|(it, _)| *it == id);
            let (_, reader) = found.unwrap();
            reader.push(&octets);
            while let Some(message) = reader.next_message() {
                let view = QueryView::parse(message).unwrap();
                let mut composer = ResponseComposer::new(&view.question().to_owned());
                composer.rcode(Rcode::NOERROR);
                let mut response = composer.finish();
                response[..2].copy_from_slice(&view.header().id.to_be_bytes());
                self.answers.push_back((harness.now + SLOWLY, id, response));
            }
        }
        while let Some((due, ..)) = self.answers.front()
            && *due <= harness.now
        {
            let (_, id, response) = self.answers.pop_front().unwrap();
            let mut frame = Vec::new();
            append_frame(&response, &mut frame);
            harness.receive(id, &frame);
        }
    }
}

/// Questions of the modest client, and how many of them got data; and of the greedy one how many did not.
fn live(want: Want) -> (u64, u64, u64) {
    let upstream = UpstreamConfig::new("one", vec![([198, 51, 100, 1], 853).into()]);
    let mut harness = Harness::new(laws::front(), vec![upstream], [9; 32]);
    let mut site = Upstream::default();
    let (mut number, mut asked, mut good, mut refused) = (0, 0, 0, 0);
    let begin = harness.now;
    for millisecond in 0..SPAN + 2_500 {
        if millisecond < SPAN {
            for _ in 0..GREED {
                number += 1;
                let taken = harness.ask(&query(want, number), &client(1), 0);
                assert_eq!(taken, Taken::Owed);
            }
            if millisecond % MODESTY == 0 {
                number += 1;
                asked += 1;
                harness.ask(&query(want, number), &client(2), 1);
            }
        }
        site.turn(&mut harness);
        harness
            .wait_until(begin + Duration::from_millis(millisecond + 1))
            .unwrap();
        while let Some((token, message)) = harness.replies.pop_front() {
            let is_good = ResponseView::parse(&message).unwrap().rcode() == Rcode::NOERROR;
            good += u64::from(token == 1 && is_good);
            refused += u64::from(token == 0 && !is_good);
        }
    }
    (asked, good, refused)
}

#[test]
fn a_greedy_client_takes_nothing_from_a_modest_one() {
    for want in [Want::NewNames, Want::OneName, Want::Signed] {
        let (asked, good, refused) = live(want);
        assert!(asked > SPAN / MODESTY && good == asked, "{good} of {asked}");
        assert!(refused > 0, "the greedy one never met a bound");
    }
}
