//! The world around a step: everything that a pure step must not read. Shifting one part at a time shows which one it does.

/// What of the machine and the moment a skill could see.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct World {
    /// Wall clock, nanoseconds since 1970.
    pub clock_ns: i64,
    /// Host name.
    pub host: String,
    /// Process id.
    pub process: u32,
    /// Time zone.
    pub time_zone: String,
    /// Locale.
    pub locale: String,
    /// Working directory.
    pub directory: String,
    /// Seed of hash maps.
    pub hash_seed: u64,
    /// Threads at work.
    pub threads: u32,
}

impl World {
    /// A world in which nothing moves.
    pub fn frozen() -> World {
        World {
            clock_ns: 1_700_000_000_000_000_000,
            host: "alpha".into(),
            process: 1000,
            time_zone: "UTC".into(),
            locale: "C.UTF-8".into(),
            directory: "/srv/alpha".into(),
            hash_seed: 1,
            threads: 1,
        }
    }

    /// This world with one part shifted, for each part, by name.
    pub fn shifted(&self) -> Vec<(&'static str, World)> {
        let with = |change: fn(&mut World)| {
            let mut world = self.clone();
            change(&mut world);
            world
        };
        vec![
            ("the clock", with(|w| w.clock_ns += 86_400_000_000_000)),
            ("the host name", with(|w| w.host.push_str("-beta"))),
            ("the process id", with(|w| w.process += 4321)),
            ("the time zone", with(|w| w.time_zone = "Asia/Tokyo".into())),
            ("the locale", with(|w| w.locale = "tr_TR.UTF-8".into())),
            (
                "the working directory",
                with(|w| w.directory.push_str("/beta")),
            ),
            (
                "the seed of hash maps",
                with(|w| w.hash_seed ^= 0x5eed_cafe),
            ),
            ("the number of threads", with(|w| w.threads += 7)),
        ]
    }
}
