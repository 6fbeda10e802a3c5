"""A frame's walk from its sender and from switch to switch, as docs/switching.md and the statements say.

It shares no code with the rows that the lab loads into switches.
"""

from __future__ import annotations

from lab.errors import CannotTell
from lab.frame import DropReason, Frame, Point
from lab.model import Machine, Topology
from lab.predict import pswitch, vswitch
from lab.predict.prediction import Prediction
from lab.predict.scene import Scene
from lab.predict.tables import Learned
from lab.predict.trail import AtPSwitch, Trail
from lab.predict.world import Guest, World
from lab.state import State

LONGEST_WALK = 20_000


def predict(topology: Topology, state: State, sender: str, frame: Frame) -> Prediction:
    """Where `frame` goes when `sender` (a vNIC's or vmknic's label, or a machine's name) sends it. Raises KeyError."""
    return Predictor(topology, state).predict(sender, frame)


class Predictor:
    """Many predictions for one topology and state."""

    def __init__(self, topology: Topology, state: State, scene: Scene | None = None) -> None:
        """`scene`: what an earlier state of the same topology was found to be like."""
        if scene is None:
            scene = Scene(World(topology), state)
        elif not scene.fits(state):
            scene = Scene(scene.world, state)
        self._scene = scene
        self._learned = Learned(state)
        self._state = state

    @property
    def world(self) -> World:
        """The topology as it is looked up; the same for every state."""
        return self._scene.world

    def with_state(self, state: State) -> Predictor:
        return Predictor(self._scene.world.topology, state, self._scene)

    def after(self, prediction: Prediction) -> Predictor:
        """One that knows what was learned from a frame that this one has foretold; itself when that was nothing."""
        state = prediction.state_after(self._state)
        return self if state is self._state else self.with_state(state)

    def predict(self, sender: str, frame: Frame) -> Prediction:
        """Raises KeyError for an unknown sender."""
        trail = Trail(self._scene, self._learned, frame)
        _send(trail, sender)
        while trail.queue:
            if len(trail.hops) > LONGEST_WALK:
                raise CannotTell("this frame never ends: mirroring sessions copy it in a circle, a storm")
            step = trail.queue.popleft()
            if isinstance(step, AtPSwitch):
                pswitch.from_wire(trail, step)
            else:
                vswitch.from_uplink(trail, step)
        tables = (trail.mac_tables.after(), trail.learned.after(), trail.secured.after(), trail.arp.after())
        return Prediction(tuple(trail.hops), *tables)


def _send(trail: Trail, sender: str) -> None:
    machine = trail.world.topology.machines.get(sender)
    if machine is not None:
        _machine_sends(trail, machine)
    else:
        _guest_sends(trail, trail.world.clients[sender])


def _guest_sends(trail: Trail, guest: Guest) -> None:
    """What a vNIC without connection or carrier sends ends at once."""
    part, client = guest
    nic = client.nic
    if not nic.connected or (part.host, client.name) in trail.scene.state.links_down:
        reason = DropReason.LINK_DOWN if nic.connected else DropReason.DISCONNECTED
        why = () if nic.connected else ("FWD-17",)
        trail.hop(part.host, nic.node, Point.DROP, nic.name, trail.vlans, None, why, direction="out", reason=reason)
        return
    point = Point.VMK_TX if nic.is_vmk else Point.VNIC_TX
    first = trail.hop(part.host, nic.node, point, nic.name, trail.vlans, None, direction="out")
    view = trail.scene.view(part)
    vswitch.from_client(trail, view, view.by_name[client.name], first)


def _machine_sends(trail: Trail, machine: Machine) -> None:
    name, vlans = machine.name, trail.vlans
    if (machine.switch, name) in trail.scene.state.links_down:
        down = DropReason.LINK_DOWN
        trail.hop(name, name, Point.DROP, "eth0", vlans, None, direction="out", reason=down)
        return
    first = trail.hop(name, name, Point.NIC_TX, "eth0", vlans, None, direction="out")
    trail.queue.append(AtPSwitch(machine.switch, name, vlans, first, True))
