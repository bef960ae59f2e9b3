//! ONNX models: <https://onnx.ai/onnx/repo-docs/IR.html>, operators of version 17, which has layer normalisation.

mod proto;

use super::modules::{Module, Parameters, modules};
use super::safetensors::bytes;
use super::{Element, Head, Network};
use carom_agents::net::{NORM_EPSILON, Operation};
use carom_envs::ObsSpace;
use prost::Message;
use proto::{Attribute, Graph, Model, Node, OperatorSet, Property, TensorProto, Type, TypeOfTensor, ValueInfo};

/// Version of the format. Version 8 is read by every onnxruntime since 1.10.
const IR_VERSION: i64 = 8;
const OPERATORS: i64 = 17;

/// Returns a file of the model: `obs`, `[N, ...]`, to `q`, `[N, n_actions]`.
pub(super) fn network(network: &Network) -> Vec<u8> {
    let mut graph = Builder::default();
    let mut x = graph.observe(network);
    let modules = modules(network);
    let n_outputs = modules.iter().rev().find_map(|module| module.parameters()).map_or(0, |head| head.bias.size()[0]);
    for module in &modules {
        x = graph.module(module, &x);
    }
    let weights = network.head.weights();
    let n_actions = n_outputs / weights.as_ref().map_or(1, |weights| weights.len() as i64);
    if let Some(weights) = weights {
        x = graph.mean(&network.head, &weights, n_actions, &x);
    }
    graph.node("Identity", &[&x], "q", vec![]);
    let graph = Graph {
        node: graph.nodes,
        name: "q_network".to_owned(),
        initializer: graph.initializers,
        input: vec![value("obs", element_type(network.input.element), &network.input.shape)],
        output: vec![value("q", proto::FLOAT, &[n_actions])],
    };
    let model = Model {
        ir_version: IR_VERSION,
        producer_name: "carom".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: Some(graph),
        opset_import: vec![OperatorSet { domain: String::new(), version: OPERATORS }],
        metadata_props: network.facts.iter().cloned().map(|(key, value)| Property { key, value }).collect(),
    };
    model.encode_to_vec()
}

fn element_type(element: Element) -> i32 {
    match element {
        Element::U8 => proto::UINT8,
        Element::I32 => proto::INT32,
        Element::F32 => proto::FLOAT,
    }
}

/// An input or output of any number of samples.
fn value(name: &str, elem_type: i32, shape: &[i64]) -> ValueInfo {
    let sizes = shape.iter().map(|&size| proto::Dimension { value: Some(proto::Size::Known(size)) });
    let batch = proto::Dimension { value: Some(proto::Size::Named("N".to_owned())) };
    let shape = proto::Shape { dim: [batch].into_iter().chain(sizes).collect() };
    let tensor_type = Some(TypeOfTensor { elem_type, shape: Some(shape) });
    ValueInfo { name: name.to_owned(), r#type: Some(Type { tensor_type }) }
}

/// A graph that grows.
#[derive(Default)]
struct Builder {
    nodes: Vec<Node>,
    initializers: Vec<TensorProto>,
}

impl Builder {
    /// Adds an operation; returns the name of its output.
    fn node(&mut self, op_type: &str, input: &[&str], output: &str, attribute: Vec<Attribute>) -> String {
        let input = input.iter().map(|&name| name.to_owned()).collect();
        let (output, op_type) = (output.to_owned(), op_type.to_owned());
        self.nodes.push(Node { input, output: vec![output.clone()], name: output.clone(), op_type, attribute });
        output
    }

    /// Adds an operation whose output has a name of its own.
    fn then(&mut self, op_type: &str, input: &[&str], attribute: Vec<Attribute>) -> String {
        let name = format!("{}_{}", op_type.to_lowercase(), self.nodes.len());
        self.node(op_type, input, &name, attribute)
    }

    /// Adds a constant; returns its name.
    fn constant(&mut self, name: &str, data_type: i32, dims: &[i64], raw_data: Vec<u8>) -> String {
        self.initializers.push(TensorProto { dims: dims.to_vec(), data_type, name: name.to_owned(), raw_data });
        name.to_owned()
    }

    fn shape(&mut self, name: &str, sizes: &[i64]) -> String {
        let data = sizes.iter().flat_map(|size| size.to_le_bytes()).collect();
        self.constant(name, proto::INT64, &[sizes.len() as i64], data)
    }

    fn parameters(&mut self, parameters: &Parameters) -> [String; 2] {
        parameters.named().map(|(name, tensor)| self.constant(&name, proto::FLOAT, &tensor.size(), bytes(tensor)))
    }

    fn cast_to_float(&mut self, x: &str) -> String {
        self.then("Cast", &[x], vec![Attribute::int("to", i64::from(proto::FLOAT))])
    }

    /// Adds what turns observations into numbers: images `[N, channels, rows, columns]`, or features `[N, features]`.
    fn observe(&mut self, network: &Network) -> String {
        let Some(Operation::Observe { space, frames }) = network.layout.operations().first() else {
            unreachable!("a Q-network observes first");
        };
        match *space {
            ObsSpace::Pixels { .. } => {
                let x = self.cast_to_float("obs");
                let unit = self.constant("unit", proto::FLOAT, &[], 255.0_f32.to_le_bytes().to_vec());
                self.then("Div", &[&x, &unit], vec![])
            }
            ObsSpace::Planes { shape: [rows, columns, channels] } => {
                let x = self.then("Transpose", &["obs"], vec![Attribute::ints("perm", &[0, 1, 4, 2, 3])]);
                let planes = self.shape("planes", &[0, frames * channels as i64, rows as i64, columns as i64]);
                let x = self.then("Reshape", &[&x, &planes], vec![]);
                self.cast_to_float(&x)
            }
            ObsSpace::Vector { .. } => self.then("Flatten", &["obs"], vec![Attribute::int("axis", 1)]),
            ObsSpace::Discrete { n } => {
                let depth = self.shape("n_states", &[n as i64]);
                let values = [0.0_f32, 1.0].iter().flat_map(|value| value.to_le_bytes()).collect();
                let values = self.constant("off_and_on", proto::FLOAT, &[2], values);
                // onnxruntime has no one-hot of 32-bit indices.
                let x = self.then("Cast", &["obs"], vec![Attribute::int("to", i64::from(proto::INT64))]);
                let x = self.then("OneHot", &[&x, &depth, &values], vec![]);
                self.then("Flatten", &[&x], vec![Attribute::int("axis", 1)])
            }
        }
    }

    /// Adds the means of the actions' distributions, `[N, n_actions]`.
    fn mean(&mut self, head: &Head, weights: &[f32], n_actions: i64, x: &str) -> String {
        let atoms = weights.len() as i64;
        let shape = self.shape("atoms", &[0, n_actions, atoms]);
        let mut x = self.then("Reshape", &[x, &shape], vec![]);
        if matches!(head, Head::C51 { .. }) {
            x = self.then("Softmax", &[&x], vec![Attribute::int("axis", -1)]);
        }
        let data = weights.iter().flat_map(|weight| weight.to_le_bytes()).collect();
        let weights = self.constant("support", proto::FLOAT, &[atoms], data);
        self.then("MatMul", &[&x, &weights], vec![])
    }

    fn module(&mut self, module: &Module, x: &str) -> String {
        match module {
            Module::Conv { parameters, stride } => {
                let [weight, bias] = self.parameters(parameters);
                self.then("Conv", &[x, &weight, &bias], vec![Attribute::ints("strides", &[*stride; 2])])
            }
            Module::LayerNorm { parameters, of_image } => {
                let [scale, shift] = self.parameters(parameters);
                let attributes = vec![Attribute::int("axis", -1), Attribute::float("epsilon", NORM_EPSILON)];
                if !of_image {
                    return self.then("LayerNormalization", &[x, &scale, &shift], attributes);
                }
                let cells = self.then("Transpose", &[x], vec![Attribute::ints("perm", &[0, 2, 3, 1])]);
                let normed = self.then("LayerNormalization", &[&cells, &scale, &shift], attributes);
                self.then("Transpose", &[&normed], vec![Attribute::ints("perm", &[0, 3, 1, 2])])
            }
            Module::Linear(parameters) => {
                let [weight, bias] = self.parameters(parameters);
                self.then("Gemm", &[x, &weight, &bias], vec![Attribute::int("transB", 1)])
            }
            Module::Relu => self.then("Relu", &[x], vec![]),
            Module::Flatten => self.then("Flatten", &[x], vec![Attribute::int("axis", 1)]),
        }
    }
}
