//! A ring as a small graph: the application in the middle, the others around it by their steps.

use std::f64::consts::TAU;

use super::member::Member;

/// Others that are drawn; the table under the graph has all.
const MOST_DRAWN: usize = 24;
/// Size of the drawing.
const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 340.0;
/// Radii of the steps, across and down.
const RADII: [(f64, f64); 3] = [(104.0, 78.0), (164.0, 118.0), (196.0, 142.0)];

/// A drawing ready for its template.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::applications) struct Drawing {
    pub(in crate::applications) title: String,
    pub(in crate::applications) description: String,
    pub(in crate::applications) width: f64,
    pub(in crate::applications) height: f64,
    pub(in crate::applications) nodes: Vec<Node>,
    pub(in crate::applications) edges: Vec<Edge>,
}

/// An application.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::applications) struct Node {
    pub(in crate::applications) x: f64,
    pub(in crate::applications) y: f64,
    /// `middle`, `fraud` or `other`.
    pub(in crate::applications) kind: &'static str,
    pub(in crate::applications) label: String,
}

/// Two applications that share something.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::applications) struct Edge {
    pub(in crate::applications) from: (f64, f64),
    pub(in crate::applications) to: (f64, f64),
    /// Between two frauds.
    pub(in crate::applications) is_fraud: bool,
}

/// Draws a ring; `None` when nobody is in it but the application itself.
#[must_use]
pub(in crate::applications) fn draw(members: &[Member]) -> Option<Drawing> {
    let (middle, others) = members.split_first()?;
    if others.is_empty() {
        return None;
    }
    let drawn: Vec<&Member> = std::iter::once(middle).chain(others.iter().take(MOST_DRAWN)).collect();
    let places = places(&drawn);
    let nodes = drawn
        .iter()
        .zip(&places)
        .map(|(member, &(x, y))| Node {
            x,
            y,
            kind: match () {
                () if member.steps == 0 => "middle",
                () if member.is_fraud => "fraud",
                () => "other",
            },
            label: member.number.to_string(),
        })
        .collect();
    let mut edges = Vec::new();
    for (index, (member, from)) in drawn.iter().zip(&places).enumerate() {
        for (other, to) in drawn.iter().zip(&places).skip(index + 1) {
            if !member.shared(other).is_empty() {
                edges.push(Edge { from: *from, to: *to, is_fraud: member.is_fraud && other.is_fraud });
            }
        }
    }
    let frauds = others.iter().filter(|member| member.is_fraud).count();
    Some(Drawing {
        title: format!("The ring of application {}", middle.number),
        description: format!(
            "{} other applications are linked with it, {} of them directly; {frauds} are confirmed frauds. Squares are \
             frauds. Lines join applications that share something; the table below says what.",
            others.len(),
            others.iter().filter(|member| member.steps == 1).count(),
        ),
        width: WIDTH,
        height: HEIGHT,
        nodes,
        edges,
    })
}

/// The middle, then each step's members evenly on an ellipse, each ellipse turned a little against the one before.
fn places(drawn: &[&Member]) -> Vec<(f64, f64)> {
    let centre = (WIDTH / 2.0, HEIGHT / 2.0 - 6.0);
    let number = |count: usize| u32::try_from(count).map_or(1.0, f64::from);
    let mut places = Vec::with_capacity(drawn.len());
    for (index, member) in drawn.iter().enumerate() {
        let Some(step) = usize::try_from(member.steps).ok().filter(|step| *step > 0) else {
            places.push(centre);
            continue;
        };
        let (across, down) = RADII.get(step - 1).or(RADII.last()).copied().unwrap_or_default();
        let alike = drawn.iter().filter(|other| other.steps == member.steps).count();
        let before = drawn.iter().take(index).filter(|other| other.steps == member.steps).count();
        let angle = TAU * (number(before) / number(alike) + 0.13 * number(step) - 0.25);
        places.push((centre.0 + across * angle.cos(), centre.1 + down * angle.sin()));
    }
    places
}
