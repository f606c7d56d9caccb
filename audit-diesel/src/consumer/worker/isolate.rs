//! Finding the payload that ends its connection each time, so that it does not hold up the rest for
//! good.
//!
//! A batch that was cut off several times in a row is tried in halves, until one payload is left.
//! That one is set aside only once this has happened six times in a row, with nothing else in
//! between: a control held, the payload alone was cut off, and another control held. A control
//! sends, over one connection and in small pieces, more bytes than the payload has, which change
//! nothing. The second one lasts at least three times as long as the first control and the payload
//! together; how much longer is left to chance. So whatever cuts connections by their age, by
//! amount or at random cuts controls more often than the payload, and one control that is cut, or
//! a try of the payload that ends in any other way, begins the count again. Where a share p of the
//! tries is cut by chance, a payload is set aside with a probability of (p · (1 − p)⁴)⁶ at most:
//! 3 · 10⁻⁷ for the worst p, 10⁻¹² where one in a hundred is cut. Otherwise it is delivered.

use std::time::{Duration, Instant};

use audit_core::Payload;

use super::super::backoff::random_fraction;
use super::drain::Pass;
use super::failure::Failure;
use super::run::Run;
use super::suspicion::{ROUNDS, Suspect};
use super::{Control, Delivery, Sink, Undelivered};

use crate::log::log;

impl<S: Sink> Run<S> {
    /// Delivers fewer payloads than usual, and says so where the pass ends with that.
    pub(super) fn deliver_few(&mut self, limit: usize) -> Result<Option<Pass>, Failure> {
        let usual = self.shared.settings.batch_size;
        self.note_flush()?;
        let batch = self.peek(limit.min(usual))?;
        let Some(first) = batch.payloads.first() else {
            return Ok(Some(Pass::Empty));
        };
        let delivery = match self.suspicion.suspect(first).cloned() {
            Some(suspect) => self.examine(suspect)?,
            None => {
                let delivered = self.deliver_unprepared(&batch.payloads);
                delivered.map_err(|error| self.suspect(&batch.payloads, error))?
            }
        };
        let tally = match delivery {
            Delivery::Done(tally) => tally,
            Delivery::StandBy(at_work) => return Ok(Some(self.stands_by(&batch, at_work))),
        };
        self.stand_by.ended();
        self.acknowledge(&batch, &tally)?;
        self.suspicion.delivered(batch.len(), usual);
        self.batch_limit.delivered(usual);
        let all_wait = tally.put_off.len() == batch.len();
        Ok(all_wait.then_some(Pass::Waiting))
    }

    fn deliver_unprepared(&mut self, payloads: &[Payload]) -> Result<Delivery, Undelivered> {
        self.sink.deliver(payloads, S::prepare(payloads))
    }

    /// Payloads were not delivered: one of them may be why.
    pub(super) fn suspect(&mut self, payloads: &[Payload], error: Undelivered) -> Failure {
        let may_be_too_much = matches!(error, Undelivered::Failed(_) | Undelivered::Unusable(_));
        if may_be_too_much {
            self.batch_limit.failed(payloads.len());
        }
        if let Undelivered::Cut(_) = error {
            let before = self.suspicion.limit();
            self.suspicion.cut(payloads);
            if before.is_none() && self.suspicion.limit().is_some() {
                log!(
                    warn,
                    worker = self.shared.settings.name,
                    "the connection ends each time that it carries this batch of audit records: \
                     smaller ones are tried, to find out whether a record is the reason"
                );
            }
        }
        Failure::of(error, may_be_too_much && self.batch_limit.is_shrinking())
    }

    /// Plays one round, or the rest of one.
    fn examine(&mut self, mut suspect: Suspect) -> Result<Delivery, Failure> {
        let played = self.round(&mut suspect);
        let rounds = suspect.rounds;
        if let Some(known) = self.suspicion.suspect(&suspect.payload) {
            *known = suspect;
        }
        match played {
            Ok(Some(delivery)) => Ok(delivery),
            Ok(None) => {
                let said = format!("a record has ended the connection {rounds} times in a row");
                Err(said.into())
            }
            Err(error) => Err(Failure::of(error, false)),
        }
    }

    fn round(&mut self, suspect: &mut Suspect) -> Result<Option<Delivery>, Undelivered> {
        if suspect.cut_after.is_none() {
            let delivery = self.try_alone(suspect);
            if matches!(delivery, Ok(Some(Delivery::Done(_))) | Err(_)) {
                suspect.rounds = 0;
            }
            if !matches!(delivery, Ok(None)) {
                return delivery;
            }
        }
        self.prove_cut(suspect)?;
        if suspect.rounds < ROUNDS {
            return Ok(None);
        }
        let reason = format!(
            "its connection ended {ROUNDS} times in a row while it was delivered alone, and held each \
             time before and after: {}",
            suspect.problem
        );
        let isolated = self.sink.set_aside(&suspect.payload, &reason);
        if isolated.is_err() {
            suspect.rounds = 0;
        }
        isolated.map(Some)
    }

    /// Delivers the payload after a control that held. `None`: it was cut off.
    fn try_alone(&mut self, suspect: &mut Suspect) -> Result<Option<Delivery>, Undelivered> {
        let began = Instant::now();
        self.control(&suspect.payload, Duration::ZERO)?;
        match self.deliver_unprepared(std::slice::from_ref(&suspect.payload)) {
            Ok(delivery) => Ok(Some(delivery)),
            Err(Undelivered::Cut(problem)) => {
                suspect.cut_after = Some(began.elapsed());
                suspect.problem = problem;
                Ok(None)
            }
            Err(outage) => Err(outage),
        }
    }

    /// Counts the round where a control holds that lasts longer than what was cut off. One that
    /// could not begin is tried again: the payload may have ended the whole server.
    fn prove_cut(&mut self, suspect: &mut Suspect) -> Result<(), Undelivered> {
        let lasted = suspect.cut_after.unwrap_or_default();
        let at_least = lasted.mul_f64(3.0 + 3.0 * random_fraction());
        let control = self.control(&suspect.payload, at_least);
        match &control {
            Ok(()) => {
                suspect.cut_after = None;
                suspect.rounds += 1;
            }
            Err(Undelivered::Cut(_)) => {
                suspect.cut_after = None;
                suspect.rounds = 0;
            }
            Err(_) => {}
        }
        control
    }

    fn control(&mut self, like: &Payload, at_least: Duration) -> Result<(), Undelivered> {
        let shared = &self.shared;
        self.sink.control(&Control {
            like,
            at_least,
            is_stopped: &|| shared.lock().stop,
        })
    }
}
