//! Clients: what they ask, how often, and what the model says of the reply.

use core::time::Duration;

use dotward_core::front::Client;
use dotward_core::wire::{Class, Flags, Header, Question, RecordType, Transport};

use super::ledger::Owed;
use super::{CALM, Happening, RECOVERY, World};
use crate::harness::Taken;

impl World<'_> {
    /// A client asks; mostly something nobody asked before, sometimes what others ask too.
    pub(super) fn ask(&mut self) -> Result<(), String> {
        let now = self.harness.now;
        if self.calm_since.is_some_and(|since| now.since(since) > CALM) {
            return Ok(());
        }
        let number = self.ledger.asked();
        let unique = self.chance.percent(75);
        let name = if unique {
            format!("U{number}.exAmple")
        } else {
            let spelling = ["shared", "Shared", "SHARED"][self.chance.size(0..=2)];
            format!("{spelling}{}.example", self.chance.number(0..=3))
        };
        let name = name.parse().map_err(|error| format!("{error}"))?;
        let rtype = RecordType(self.chance.pick(&[1, 28, 65_280]));
        let question = Question::new(&name, rtype, Class::IN);
        let id = u16::try_from(self.chance.number(0..=65_535)).unwrap_or_default();
        let message = self.query(id, &question);
        let client = Client {
            address: ([127, 0, 0, 1], 4000).into(),
            transport: self
                .chance
                .pick(&[Transport::Udp, Transport::Tcp, Transport::Tls]),
            idle: Duration::from_secs(10),
        };
        let healthy = self.sites.iter().any(|site| site.healthy);
        let settled = self
            .calm_since
            .is_some_and(|since| now.since(since) > RECOVERY);
        let token = self.ledger.enter(Owed {
            id,
            question,
            at: now,
            // Who joins a question that began in the storm shares its fate.
            must: healthy || (settled && unique),
            leapt: false,
        });
        self.recent.push_back(now);
        if self.harness.ask(&message, &client, token) != Taken::Owed {
            return Err("a well-formed question was dropped".into());
        }
        let calm = self.calm_since.is_some();
        let after = if calm {
            self.chance.millis(20..=100)
        } else {
            self.chance.millis(0..=self.rush)
        };
        if !self.chance.is_spent() || calm {
            self.later(after, Happening::Ask);
        }
        Ok(())
    }

    fn query(&mut self, id: u16, question: &Question) -> Vec<u8> {
        let edns = self.chance.percent(50);
        let header = Header {
            id,
            flags: Flags::NONE.with_recursion_desired(true),
            questions: 1,
            answers: 0,
            authorities: 0,
            additionals: u16::from(edns),
        };
        let mut message = [&header.octets()[..], question.octets()].concat();
        if edns {
            message.extend_from_slice(b"\x00\x00\x29\x02\x00\x00\x00\x00\x00\x00\x00");
        }
        message
    }
}
