//! The twelve agents of the reference dashboard, with its numbers.

/// An agent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Profile {
    /// What tasks call it.
    pub name: &'static str,
    /// How fast it is; 1 is usual.
    pub speed: f64,
    /// US dollars per 1,000 tokens.
    pub cost: f64,
    pub specialization: &'static str,
    /// The most complex task it takes, of 10.
    pub most_complex: u64,
}

const fn profile(
    name: &'static str,
    speed: f64,
    cost: f64,
    specialization: &'static str,
    most_complex: u64,
) -> Profile {
    Profile { name, speed, cost, specialization, most_complex }
}

/// All of them.
pub(super) const PROFILES: [Profile; 12] = [
    profile("gpt-4", 0.8, 0.030, "Reasoning, Analysis", 10),
    profile("gpt-4-turbo", 1.2, 0.010, "Speed, Reasoning", 10),
    profile("gpt-3.5-turbo", 1.5, 0.001, "General, Speed", 7),
    profile("claude-3-opus", 0.7, 0.075, "Analysis, Safety", 10),
    profile("claude-3-sonnet", 1.0, 0.015, "General, Balanced", 8),
    profile("claude-3-haiku", 2.0, 0.0025, "Speed, Concise", 6),
    profile("gemini-pro", 1.1, 0.005, "Multimodal", 8),
    profile("gemini-ultra", 0.9, 0.020, "Reasoning, Multimodal", 10),
    profile("llama-2-70b", 0.6, 0.0, "Open Source", 8),
    profile("llama-2-13b", 1.3, 0.0, "Open Source, Speed", 6),
    profile("mistral-large", 0.9, 0.008, "Reasoning, Multilingual", 9),
    profile("mistral-medium", 1.4, 0.0027, "General, Multilingual", 7),
];

impl Profile {
    /// The agent of this name, however it is spelled.
    pub fn named(text: &str) -> Option<&'static Self> {
        let name = text.to_lowercase().replace([' ', '_'], "-");
        PROFILES.iter().find(|profile| profile.name == name)
    }
}
