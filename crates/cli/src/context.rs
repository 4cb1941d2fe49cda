//! What a program is run on, from options: a packet for one type of program or another, an event
//! or plain memory, with the fields of a TOML file.

use serde::Deserialize;
use serde_json::{Value, json};
use skep::context::{Context, Lirc, RawMemory, Redirect, Sent, Signal, Skb, Tunnel, Vlan, Xdp};
use skep_bpf::platform::{ProgType, context_of, return_name};

use crate::value::hex;

/// What programs of a type run on.
#[derive(Clone, Debug)]
pub enum Input {
    /// A packet in the driver.
    Xdp(Xdp),
    /// A packet in the stack.
    Skb(Box<Skb>),
    /// An event of an infrared receiver.
    Infrared(Lirc),
    /// Plain memory.
    Memory(RawMemory),
}

/// Fields of a context for XDP programs.
#[derive(Deserialize, Debug, Default)]
#[serde(deny_unknown_fields, default)]
struct XdpFields {
    ingress_ifindex: Option<u32>,
    rx_queue_index: Option<u32>,
    egress_ifindex: Option<u32>,
    /// Metadata in front of the packet, as hexadecimal digits.
    meta: Option<String>,
}

/// Fields of a context for programs that take socket buffers.
#[derive(Deserialize, Debug, Default)]
#[serde(deny_unknown_fields, default)]
struct SkbFields {
    pkt_type: Option<u32>,
    mark: Option<u32>,
    queue_mapping: Option<u32>,
    vlan_tci: Option<u16>,
    vlan_proto: Option<u16>,
    priority: Option<u32>,
    ingress_ifindex: Option<u32>,
    ifindex: Option<u32>,
    tc_index: Option<u32>,
    cb: Option<[u32; 5]>,
    hash: Option<u32>,
    tc_classid: Option<u32>,
    napi_id: Option<u32>,
    remote_port: Option<u32>,
    local_port: Option<u32>,
    tstamp: Option<u64>,
    wire_len: Option<u32>,
    gso_segs: Option<u32>,
    gso_size: Option<u32>,
    hwtstamp: Option<u64>,
}

impl Input {
    /// An input without a packet for programs of a type; none if there is no input for them.
    ///
    /// # Errors
    ///
    /// What is wrong with the fields.
    pub fn new(prog_type: ProgType, fields: Option<&str>) -> Result<Option<Input>, String> {
        let fields = fields.unwrap_or("");
        if prog_type == ProgType::XDP {
            let fields: XdpFields = toml::from_str(fields).map_err(|e| e.to_string())?;
            return xdp(fields).map(|xdp| Some(Input::Xdp(xdp)));
        }
        // The types whose context is a socket buffer, as far as a packet makes one.
        let takes_skb = context_of(prog_type).is_some_and(|row| row.c_type.contains("__sk_buff"))
            && !matches!(prog_type, ProgType::SK_SKB | ProgType::FLOW_DISSECTOR);
        if prog_type == ProgType::LIRC_MODE2 {
            return Ok(Some(Input::Infrared(Lirc::new(Signal::Timeout(Signal::MAX_VALUE)))));
        }
        if takes_skb {
            let fields: SkbFields = toml::from_str(fields).map_err(|e| e.to_string())?;
            return Ok(Some(Input::Skb(Box::new(skb(prog_type, &fields)))));
        }
        Ok(None)
    }

    /// The same input with another packet, or other memory. Events have no bytes.
    #[must_use]
    pub fn with_bytes(&self, bytes: &[u8]) -> Input {
        let mut input = self.clone();
        match &mut input {
            Input::Xdp(xdp) => xdp.packet = bytes.to_vec(),
            Input::Skb(skb) => skb.packet = bytes.to_vec(),
            Input::Infrared(_) => {}
            Input::Memory(memory) => memory.bytes = bytes.to_vec(),
        }
        input
    }

    /// The packet, or the memory.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Input::Xdp(xdp) => &xdp.packet,
            Input::Skb(skb) => &skb.packet,
            Input::Infrared(_) => &[],
            Input::Memory(memory) => &memory.bytes,
        }
    }

    /// What an engine takes.
    pub fn context(&mut self) -> &mut dyn Context {
        match self {
            Input::Xdp(xdp) => xdp,
            Input::Skb(skb) => &mut **skb,
            Input::Infrared(event) => event,
            Input::Memory(memory) => memory,
        }
    }

    /// The fields that a program changed, by name: as text and as JSON.
    #[must_use]
    pub fn changed_fields(&self, before: &Input) -> Vec<(&'static str, Value, Value)> {
        let fields = before.fields().into_iter().zip(self.fields());
        fields
            .filter(|((_, old), (_, new))| old != new)
            .map(|((name, old), (_, new))| (name, old, new))
            .collect()
    }

    /// The fields that programs can change.
    fn fields(&self) -> Vec<(&'static str, Value)> {
        match self {
            Input::Xdp(xdp) => {
                vec![("meta", json!(hex(&xdp.meta))), ("redirect", redirect(xdp.redirect))]
            }
            Input::Skb(skb) => vec![
                ("mark", json!(skb.mark)),
                ("priority", json!(skb.priority)),
                ("queue_mapping", json!(skb.queue_mapping)),
                ("tc_index", json!(skb.tc_index)),
                ("tc_classid", json!(skb.tc_classid)),
                ("cb", json!(skb.cb)),
                ("tstamp", json!(skb.tstamp)),
                ("vlan", json!(skb.vlan.map(|vlan| json!({"tci": vlan.tci, "proto": vlan.proto})))),
                ("pkt_type", json!(skb.pkt_type)),
                ("redirect", redirect(skb.redirect)),
                ("clones", skb.clones.iter().map(clone).collect()),
                ("tunnel", tunnel(skb.tunnel.as_ref())),
            ],
            Input::Infrared(_) | Input::Memory(_) => Vec::new(),
        }
    }
}

fn clone(sent: &Sent) -> Value {
    json!({"ifindex": sent.ifindex, "flags": sent.flags, "packet": hex(&sent.packet)})
}

fn tunnel(tunnel: Option<&Tunnel>) -> Value {
    let Some(tunnel) = tunnel else { return Value::Null };
    json!({
        "id": tunnel.id,
        "source": hex(&tunnel.source),
        "destination": hex(&tunnel.destination),
        "tos": tunnel.tos,
        "ttl": tunnel.ttl,
        "label": tunnel.label,
        "flags": tunnel.flags,
        "options": hex(&tunnel.options),
    })
}

fn redirect(to: Option<Redirect>) -> Value {
    match to {
        None => Value::Null,
        Some(Redirect::Interface { ifindex, flags }) => json!({"ifindex": ifindex, "flags": flags}),
        Some(Redirect::Peer { ifindex }) => json!({"peer_of_ifindex": ifindex}),
        Some(Redirect::Neighbour { ifindex, next_hop }) => {
            json!({"neighbour_at_ifindex": ifindex, "next_hop": next_hop.map(|hop| hex(&hop))})
        }
        Some(Redirect::Map { key, flags, .. }) => json!({"map_key": key, "flags": flags}),
    }
}

fn xdp(fields: XdpFields) -> Result<Xdp, String> {
    let mut xdp = Xdp::new(Vec::new());
    xdp.ingress_ifindex = fields.ingress_ifindex.unwrap_or(xdp.ingress_ifindex);
    xdp.rx_queue_index = fields.rx_queue_index.unwrap_or(xdp.rx_queue_index);
    xdp.egress_ifindex = fields.egress_ifindex.unwrap_or(xdp.egress_ifindex);
    if let Some(meta) = fields.meta.filter(|meta| !meta.is_empty()) {
        let bytes = crate::input::parse_hex(&meta);
        xdp.meta = bytes.ok_or_else(|| format!("meta needs hexadecimal digits, found {meta:?}"))?;
    }
    Ok(xdp)
}

fn skb(prog_type: ProgType, fields: &SkbFields) -> Skb {
    let mut skb = Skb::new(prog_type, Vec::new());
    macro_rules! take {
        ($($name:ident)*) => { $(skb.$name = fields.$name.unwrap_or(skb.$name);)* };
    }
    take! {
        mark queue_mapping priority ingress_ifindex ifindex tc_index cb hash tc_classid napi_id
        remote_port local_port tstamp gso_segs gso_size hwtstamp
    }
    skb.pkt_type = fields.pkt_type.or(skb.pkt_type);
    skb.wire_len = fields.wire_len.or(skb.wire_len);
    if fields.vlan_tci.is_some() || fields.vlan_proto.is_some() {
        /// `ETH_P_8021Q`.
        const CUSTOMER_TAG: u16 = 0x8100;
        skb.vlan = Some(Vlan {
            tci: fields.vlan_tci.unwrap_or(0),
            proto: fields.vlan_proto.unwrap_or(CUSTOMER_TAG),
        });
    }
    skb
}

/// The name of what a program of a type returned.
#[must_use]
pub fn action(prog_type: ProgType, r0: u64) -> Option<&'static str> {
    return_name(prog_type, r0 as u32)
}

/// Whether a packet goes on after what a program of a type returned: it was not dropped, aborted
/// or taken away.
#[must_use]
pub fn goes_on(prog_type: ProgType, r0: u64) -> bool {
    match action(prog_type, r0) {
        Some("XDP_ABORTED" | "XDP_DROP" | "TC_ACT_SHOT" | "TC_ACT_STOLEN") => false,
        Some(_) => true,
        // XDP treats what it does not know as aborted; filters return how much is kept.
        None if prog_type == ProgType::XDP => false,
        None => r0 as u32 != 0,
    }
}
