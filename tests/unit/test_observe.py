"""Traces, sightings and captures read into values. The traces were recorded in a running lab of `switching.yaml`
(LONELY: of a pSwitch with one port in the VLAN; MIRRORED: of `port-mirroring.yaml`, its session cut to 60 bytes)."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from scapy.layers.l2 import Ether
from scapy.utils import PcapNgWriter, PcapWriter

from lab.errors import CannotTell
from lab.frame import BROADCAST, DropReason, Frame, Hop, Point, Tag
from lab.observe.pcapng import CaptureFile, Packet, merge_pcapng
from lab.observe.sightings import End, PointMap, Sighting, hops_of
from lab.observe.trace import Output, read_trace
from lab.plan import compile_plan
from lab.teaming import initial_state
from lab.topology import read_topology_file

LOCAL = """\
Flow: in_port="web1.eth0",vlan_tci=0x0000,dl_src=00:50:56:00:00:01,dl_dst=00:50:56:00:00:02,dl_type=0x88b5

bridge("dvs0")
--------------
 0. in_port="web1.eth0", priority 100
    goto_table:10
10. in_port="web1.eth0", priority 50
    goto_table:15
15. priority 0
    goto_table:20
20. in_port="web1.eth0",vlan_tci=0x0000/0x1fff, priority 100
    set_field:0xa->reg0
    goto_table:25
25. priority 0
    goto_table:28
28. priority 0
    goto_table:30
30. reg0=0xa,dl_dst=00:50:56:00:00:02, priority 100
    set_field:0x65->reg5
    goto_table:50
50. reg5=0x65, priority 50
    goto_table:52
52. reg5=0x65, priority 50
    goto_table:55
55. priority 0
    goto_table:60
60. reg5=0x65, priority 50
    output:"web2.eth0"

Final flow: reg0=0xa,reg5=0x65,in_port="web1.eth0",vlan_tci=0x0000,dl_src=00:50:56:00:00:01,dl_dst=00:50:56:00:00:02,dl_type=0x88b5
Megaflow: recirc_id=0,eth,in_port="web1.eth0",dl_dst=00:50:56:00:00:02,dl_type=0x88b5
Datapath actions: web2.eth0
"""  # noqa: E501
BROADCAST_OUT = """\
Flow: in_port="web1.eth0",vlan_tci=0x0000,dl_src=00:50:56:00:00:01,dl_dst=ff:ff:ff:ff:ff:ff,dl_type=0x88b5

bridge("dvs0")
--------------
 0. in_port="web1.eth0", priority 100
    goto_table:10
10. in_port="web1.eth0", priority 50
    goto_table:15
15. priority 0
    goto_table:20
20. in_port="web1.eth0",vlan_tci=0x0000/0x1fff, priority 100
    set_field:0xa->reg0
    goto_table:25
25. priority 0
    goto_table:28
28. priority 0
    goto_table:30
30. reg0=0xa,dl_dst=ff:ff:ff:ff:ff:ff, priority 95
    clone(set_field:0x64->reg5,resubmit(,50))
    set_field:0x64->reg5
    resubmit(,50)
    50. reg5=0x64,in_port="web1.eth0", priority 400
            drop
    clone(set_field:0x65->reg5,resubmit(,50))
    set_field:0x65->reg5
    resubmit(,50)
    50. reg5=0x65, priority 50
            goto_table:52
        52. reg5=0x65, priority 50
            goto_table:55
        55. priority 0
            goto_table:60
        60. reg5=0x65, priority 50
            output:"web2.eth0"
    clone(set_field:0x66->reg5,resubmit(,50))
    set_field:0x66->reg5
    resubmit(,50)
    50. reg5=0x66, priority 50
            goto_table:52
        52. reg5=0x66, priority 50
            goto_table:55
        55. priority 0
            goto_table:60
        60. reg5=0x66, priority 50
            output:"app1.eth0"
    clone(set_field:0x68->reg5,resubmit(,50))
    set_field:0x68->reg5
    resubmit(,50)
    50. reg5=0x68, priority 50
            goto_table:52
        52. reg5=0x68, priority 50
            goto_table:55
        55. priority 0
            goto_table:60
        60. reg5=0x68, priority 50
            push_vlan:0x8100
            move:NXM_NX_REG0[0..11]->NXM_OF_VLAN_TCI[0..11]
             -> NXM_OF_VLAN_TCI[0..11] is now 0xa
            move:NXM_NX_REG1[0..2]->NXM_OF_VLAN_TCI[13..15]
             -> NXM_OF_VLAN_TCI[13..15] is now 0
            output:"trunk1.eth0"
    clone(set_field:0x6b->reg5,resubmit(,50))
    set_field:0x6b->reg5
    resubmit(,50)
    50. reg5=0x6b, priority 300, cookie 0xd00080413006b
            drop
    goto_table:40
40. in_port="web1.eth0", priority 100
    set_field:0x1->reg5
    goto_table:60
60. reg5=0x1, priority 50
    push_vlan:0x8100
    move:NXM_NX_REG0[0..11]->NXM_OF_VLAN_TCI[0..11]
     -> NXM_OF_VLAN_TCI[0..11] is now 0xa
    move:NXM_NX_REG1[0..2]->NXM_OF_VLAN_TCI[13..15]
     -> NXM_OF_VLAN_TCI[13..15] is now 0
    output:vmnic1

Final flow: reg0=0xa,reg5=0x1,in_port="web1.eth0",dl_vlan=10,dl_vlan_pcp=0,vlan_tci1=0x0000,dl_src=00:50:56:00:00:01,dl_dst=ff:ff:ff:ff:ff:ff,dl_type=0x88b5
Megaflow: recirc_id=0,eth,in_port="web1.eth0",dl_dst=ff:ff:ff:ff:ff:ff,dl_type=0x88b5
Datapath actions: web2.eth0,app1.eth0,push_vlan(vid=10,pcp=0),trunk1.eth0,vmnic1
"""  # noqa: E501
FROM_UPLINK = """\
Flow: in_port=vmnic1,dl_vlan=10,dl_vlan_pcp=0,vlan_tci1=0x0000,dl_src=00:50:56:00:00:03,dl_dst=ff:ff:ff:ff:ff:ff,dl_type=0x88b5

bridge("dvs0")
--------------
 0. in_port=vmnic1, priority 100
    set_field:0x1->reg2
    goto_table:20
20. in_port=vmnic1,vlan_tci=0x1000/0x1000, priority 50
    move:NXM_OF_VLAN_TCI[0..11]->NXM_NX_REG0[0..11]
     -> NXM_NX_REG0[0..11] is now 0xa
    move:NXM_OF_VLAN_TCI[13..15]->NXM_NX_REG1[0..2]
     -> NXM_NX_REG1[0..2] is now 0
    pop_vlan
    goto_table:25
25. priority 0
    goto_table:28
28. priority 0
    goto_table:30
30. reg0=0xa,dl_dst=ff:ff:ff:ff:ff:ff, priority 95
    clone(set_field:0x64->reg5,resubmit(,50))
    set_field:0x64->reg5
    resubmit(,50)
    50. reg5=0x64, priority 50
            goto_table:52
        52. reg5=0x64, priority 50
            goto_table:55
        55. priority 0
            goto_table:60
        60. reg5=0x64, priority 50
            output:"web1.eth0"
    clone(set_field:0x65->reg5,resubmit(,50))
    set_field:0x65->reg5
    resubmit(,50)
    50. reg5=0x65,in_port=vmnic1, priority 100, cookie 0xd0007010b0065
            drop
    clone(set_field:0x66->reg5,resubmit(,50))
    set_field:0x66->reg5
    resubmit(,50)
    50. reg5=0x66, priority 50
            goto_table:52
        52. reg5=0x66, priority 50
            goto_table:55
        55. priority 0
            goto_table:60
        60. reg5=0x66, priority 50
            output:"app1.eth0"
    clone(set_field:0x68->reg5,resubmit(,50))
    set_field:0x68->reg5
    resubmit(,50)
    50. reg5=0x68, priority 50
            goto_table:52
        52. reg5=0x68, priority 50
            goto_table:55
        55. priority 0
            goto_table:60
        60. reg5=0x68, priority 50
            push_vlan:0x8100
            move:NXM_NX_REG0[0..11]->NXM_OF_VLAN_TCI[0..11]
             -> NXM_OF_VLAN_TCI[0..11] is now 0xa
            move:NXM_NX_REG1[0..2]->NXM_OF_VLAN_TCI[13..15]
             -> NXM_OF_VLAN_TCI[13..15] is now 0
            output:"trunk1.eth0"
    clone(set_field:0x6b->reg5,resubmit(,50))
    set_field:0x6b->reg5
    resubmit(,50)
    50. reg5=0x6b, priority 300, cookie 0xd00080413006b
            drop
    goto_table:40
40. reg2=0x1, priority 200
    drop

Final flow: reg0=0xa,reg2=0x1,in_port=vmnic1,vlan_tci=0x0000,dl_src=00:50:56:00:00:03,dl_dst=ff:ff:ff:ff:ff:ff,dl_type=0x88b5
Megaflow: recirc_id=0,eth,in_port=vmnic1,dl_vlan=10,dl_vlan_pcp=0,dl_dst=ff:ff:ff:ff:ff:ff,dl_type=0x88b5
Datapath actions: pop_vlan,web1.eth0,app1.eth0,push_vlan(vid=10,pcp=0),trunk1.eth0
"""  # noqa: E501
DOUBLE_TAG = """\
Flow: in_port="web1.eth0",dl_vlan=10,dl_vlan_pcp=0,vlan_tci1=0x0000,dl_src=00:50:56:00:00:01,dl_dst=00:50:56:00:00:02,dl_type=0x88b5

bridge("dvs0")
--------------
 0. in_port="web1.eth0", priority 100
    goto_table:10
10. in_port="web1.eth0", priority 50
    goto_table:15
15. priority 0
    goto_table:20
20. in_port="web1.eth0", priority 10, cookie 0xd000102060064
    drop

Final flow: unchanged
Megaflow: recirc_id=0,eth,in_port="web1.eth0",dl_vlan=10,dl_type=0x88b5
Datapath actions: drop
"""  # noqa: E501
VGT = """\
Flow: in_port="vgt1.eth0",dl_vlan=10,dl_vlan_pcp=5,dl_vlan1=30,dl_vlan_pcp1=2,dl_src=00:50:56:00:00:0c,dl_dst=ff:ff:ff:ff:ff:ff,dl_type=0x88b5

bridge("vSwitch0")
------------------
 0. in_port="vgt1.eth0", priority 100
    goto_table:10
10. in_port="vgt1.eth0", priority 50
    goto_table:15
15. priority 0
    goto_table:20
20. in_port="vgt1.eth0",vlan_tci=0x1008/0x1ff8, priority 50
    move:NXM_OF_VLAN_TCI[0..11]->NXM_NX_REG0[0..11]
     -> NXM_NX_REG0[0..11] is now 0xa
    move:NXM_OF_VLAN_TCI[13..15]->NXM_NX_REG1[0..2]
     -> NXM_NX_REG1[0..2] is now 0x5
    pop_vlan
    goto_table:25
25. priority 0
    goto_table:28
28. priority 0
    goto_table:30
30. reg0=0xa,dl_dst=ff:ff:ff:ff:ff:ff, priority 95
    clone(set_field:0x66->reg5,resubmit(,50))
    set_field:0x66->reg5
    resubmit(,50)
    50. reg5=0x66,in_port="vgt1.eth0", priority 400
            drop
    clone(set_field:0x67->reg5,resubmit(,50))
    set_field:0x67->reg5
    resubmit(,50)
    50. reg5=0x67, priority 50
            goto_table:52
        52. reg5=0x67, priority 50
            goto_table:55
        55. priority 0
            goto_table:60
        60. reg5=0x67, priority 50
            output:"old1.eth0"
    clone(set_field:0x68->reg5,resubmit(,50))
    set_field:0x68->reg5
    resubmit(,50)
    50. reg5=0x68, priority 50
            goto_table:52
        52. reg5=0x68, priority 50
            goto_table:55
        55. priority 0
            goto_table:60
        60. reg5=0x68, priority 50
            output:"old2.eth0"
    goto_table:40
40. in_port="vgt1.eth0", priority 100
    set_field:0x1->reg5
    goto_table:60
60. reg5=0x1, priority 50
    push_vlan:0x8100
    move:NXM_NX_REG0[0..11]->NXM_OF_VLAN_TCI[0..11]
     -> NXM_OF_VLAN_TCI[0..11] is now 0xa
    move:NXM_NX_REG1[0..2]->NXM_OF_VLAN_TCI[13..15]
     -> NXM_OF_VLAN_TCI[13..15] is now 0x5
    output:vmnic0

Final flow: reg0=0xa,reg1=0x5,reg5=0x1,in_port="vgt1.eth0",dl_vlan=10,dl_vlan_pcp=5,dl_vlan1=30,dl_vlan_pcp1=2,dl_src=00:50:56:00:00:0c,dl_dst=ff:ff:ff:ff:ff:ff,dl_type=0x88b5
Megaflow: recirc_id=0,eth,in_port="vgt1.eth0",dl_vlan=10,dl_vlan_pcp=5,dl_vlan1=30,dl_vlan_pcp1=2,dl_dst=ff:ff:ff:ff:ff:ff,dl_type=0x88b5
Datapath actions: pop_vlan,old1.eth0,old2.eth0,push_vlan(vid=10,pcp=5),vmnic0
"""  # noqa: E501
FLOOD = """\
Flow: in_port=gw,dl_vlan=0,dl_vlan_pcp=3,vlan_tci1=0x0000,dl_src=00:0c:29:00:00:01,dl_dst=ff:ff:ff:ff:ff:ff,dl_type=0x88b5

bridge("tor1")
--------------
 0. in_port=gw, priority 100
    goto_table:10
10. in_port=gw,dl_vlan=0, priority 100
    move:NXM_OF_VLAN_TCI[13..15]->NXM_NX_REG1[0..2]
     -> NXM_NX_REG1[0..2] is now 0x3
    pop_vlan
    set_field:0xa->reg0
    goto_table:30
30. priority 50
    move:NXM_OF_ETH_DST[]->OXM_OF_PKT_REG4[0..47]
     -> OXM_OF_PKT_REG4[0..47] is now 0xffffffffffff
    move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[]
     -> NXM_OF_ETH_DST[] is now 00:0c:29:00:00:01
    resubmit(,35)
    35. No match.
            drop
    move:OXM_OF_PKT_REG4[0..47]->NXM_OF_ETH_DST[]
     -> NXM_OF_ETH_DST[] is now ff:ff:ff:ff:ff:ff
    move:NXM_NX_REG5[]->NXM_NX_REG6[]
     -> NXM_NX_REG6[] is now 0
    set_field:0->reg5
    goto_table:31
31. priority 10
    learn(table=33,priority=1,limit=1,result_dst=NXM_NX_REG7[0],NXM_OF_ETH_SRC[])
     -> table=33 dl_src=00:0c:29:00:00:01 priority=1 actions=drop
     -> NXM_NX_REG7[0] is now 0
     -> Limit exceeded, learn failed
    goto_table:32
32. reg6=0, priority 50
    learn(table=35,hard_timeout=300,priority=50,cookie=0x1ea00000000,limit=8192,NXM_NX_REG0[],NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],load:NXM_OF_IN_PORT[]->NXM_NX_REG5[0..15])
     -> table=35 reg0=0xa,dl_dst=00:0c:29:00:00:01 priority=50 cookie=0x1ea00000000 hard=300 actions=load:0x5->NXM_NX_REG5[0..15]
    goto_table:40
40. dl_dst=01:00:00:00:00:00/01:00:00:00:00:00, priority 100
    goto_table:50
50. reg0=0xa, priority 50
    output:gw
     >> skipping output to input port
    push_vlan:0x8100
    move:NXM_NX_REG0[0..11]->NXM_OF_VLAN_TCI[0..11]
     -> NXM_OF_VLAN_TCI[0..11] is now 0xa
    move:NXM_NX_REG1[0..2]->NXM_OF_VLAN_TCI[13..15]
     -> NXM_OF_VLAN_TCI[13..15] is now 0x3
    output:"esx1-vmnic0"
    output:"esx1-vmnic1"
    output:"esx2-vmnic0"
    output:"esx2-vmnic1"
    output:tor2

Final flow: reg0=0xa,reg1=0x3,reg8=0xffff,reg9=0xffffffff,in_port=gw,dl_vlan=10,dl_vlan_pcp=3,vlan_tci1=0x0000,dl_src=00:0c:29:00:00:01,dl_dst=ff:ff:ff:ff:ff:ff,dl_type=0x88b5
Megaflow: recirc_id=0,eth,in_port=gw,dl_vlan=0,dl_vlan_pcp=3,dl_src=00:0c:29:00:00:01,dl_dst=ff:ff:ff:ff:ff:ff,dl_type=0x88b5
Datapath actions: pop_vlan,push_vlan(vid=10,pcp=3),esx1-vmnic0,esx1-vmnic1,esx2-vmnic0,esx2-vmnic1,tor2
"""  # noqa: E501
ACCESS = """\
Flow: in_port=gw,dl_vlan=10,dl_vlan_pcp=0,vlan_tci1=0x0000,dl_src=00:0c:29:00:00:01,dl_dst=ff:ff:ff:ff:ff:ff,dl_type=0x88b5

bridge("tor1")
--------------
 0. in_port=gw, priority 100
    goto_table:10
10. in_port=gw, priority 10, cookie 0xd001702100005
    drop

Final flow: unchanged
Megaflow: recirc_id=0,eth,in_port=gw,dl_vlan=10,dl_type=0x88b5
Datapath actions: drop
"""  # noqa: E501
LEARNED = """\
Flow: in_port=gw,vlan_tci=0x0000,dl_src=00:0c:29:00:00:01,dl_dst=00:50:56:00:00:01,dl_type=0x88b5

bridge("tor1")
--------------
 0. in_port=gw, priority 100
    goto_table:10
10. in_port=gw,vlan_tci=0x0000/0x1fff, priority 100
    set_field:0xa->reg0
    goto_table:30
30. priority 50
    move:NXM_OF_ETH_DST[]->OXM_OF_PKT_REG4[0..47]
     -> OXM_OF_PKT_REG4[0..47] is now 0x5056000001
    move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[]
     -> NXM_OF_ETH_DST[] is now 00:0c:29:00:00:01
    resubmit(,35)
    35. reg0=0xa,dl_dst=00:0c:29:00:00:01, priority 50, cookie 0x1ea00000000
            load:0x5->NXM_NX_REG5[0..15]
    move:OXM_OF_PKT_REG4[0..47]->NXM_OF_ETH_DST[]
     -> NXM_OF_ETH_DST[] is now 00:50:56:00:00:01
    move:NXM_NX_REG5[]->NXM_NX_REG6[]
     -> NXM_NX_REG6[] is now 0x5
    set_field:0->reg5
    goto_table:31
31. reg6=0x5,in_port=gw, priority 50
    learn(table=35,hard_timeout=300,priority=50,cookie=0x1ea00000000,limit=1,NXM_NX_REG0[],NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],load:NXM_OF_IN_PORT[]->NXM_NX_REG5[0..15])
     -> table=35 reg0=0xa,dl_dst=00:0c:29:00:00:01 priority=50 cookie=0x1ea00000000 hard=300 actions=load:0x5->NXM_NX_REG5[0..15]
    goto_table:40
40. priority 50
    resubmit(,35)
    35. reg0=0xa,dl_dst=00:50:56:00:00:01, priority 50, cookie 0x1ea00000000
            load:0x2->NXM_NX_REG5[0..15]
    goto_table:45
45. reg5=0x2, priority 50
    push_vlan:0x8100
    move:NXM_NX_REG0[0..11]->NXM_OF_VLAN_TCI[0..11]
     -> NXM_OF_VLAN_TCI[0..11] is now 0xa
    move:NXM_NX_REG1[0..2]->NXM_OF_VLAN_TCI[13..15]
     -> NXM_OF_VLAN_TCI[13..15] is now 0
    output:"esx1-vmnic1"

Final flow: reg0=0xa,reg5=0x2,reg6=0x5,reg8=0x50,reg9=0x56000001,in_port=gw,dl_vlan=10,dl_vlan_pcp=0,vlan_tci1=0x0000,dl_src=00:0c:29:00:00:01,dl_dst=00:50:56:00:00:01,dl_type=0x88b5
Megaflow: recirc_id=0,eth,in_port=gw,dl_src=00:0c:29:00:00:01,dl_dst=00:50:56:00:00:01,dl_type=0x88b5
Datapath actions: push_vlan(vid=10,pcp=0),esx1-vmnic1
"""  # noqa: E501
SAME_PORT = """\
Flow: in_port="esx1-vmnic1",dl_vlan=10,dl_vlan_pcp=0,vlan_tci1=0x0000,dl_src=00:50:56:00:00:02,dl_dst=00:50:56:00:00:01,dl_type=0x88b5

bridge("tor1")
--------------
 0. in_port="esx1-vmnic1", priority 100
    goto_table:10
10. in_port="esx1-vmnic1",vlan_tci=0x100a/0x1ffe, priority 50
    move:NXM_OF_VLAN_TCI[0..11]->NXM_NX_REG0[0..11]
     -> NXM_NX_REG0[0..11] is now 0xa
    move:NXM_OF_VLAN_TCI[13..15]->NXM_NX_REG1[0..2]
     -> NXM_NX_REG1[0..2] is now 0
    pop_vlan
    goto_table:30
30. priority 50
    move:NXM_OF_ETH_DST[]->OXM_OF_PKT_REG4[0..47]
     -> OXM_OF_PKT_REG4[0..47] is now 0x5056000001
    move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[]
     -> NXM_OF_ETH_DST[] is now 00:50:56:00:00:02
    resubmit(,35)
    35. No match.
            drop
    move:OXM_OF_PKT_REG4[0..47]->NXM_OF_ETH_DST[]
     -> NXM_OF_ETH_DST[] is now 00:50:56:00:00:01
    move:NXM_NX_REG5[]->NXM_NX_REG6[]
     -> NXM_NX_REG6[] is now 0
    set_field:0->reg5
    goto_table:31
31. priority 10
    learn(table=33,priority=1,limit=1,result_dst=NXM_NX_REG7[0],NXM_OF_ETH_SRC[])
     -> table=33 dl_src=00:50:56:00:00:02 priority=1 actions=drop
     -> NXM_NX_REG7[0] is now 0
     -> Limit exceeded, learn failed
    goto_table:32
32. reg6=0, priority 50
    learn(table=35,hard_timeout=300,priority=50,cookie=0x1ea00000000,limit=8192,NXM_NX_REG0[],NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],load:NXM_OF_IN_PORT[]->NXM_NX_REG5[0..15])
     -> table=35 reg0=0xa,dl_dst=00:50:56:00:00:02 priority=50 cookie=0x1ea00000000 hard=300 actions=load:0x2->NXM_NX_REG5[0..15]
    goto_table:40
40. priority 50
    resubmit(,35)
    35. reg0=0xa,dl_dst=00:50:56:00:00:01, priority 50, cookie 0x1ea00000000
            load:0x2->NXM_NX_REG5[0..15]
    goto_table:45
45. reg5=0x2,in_port="esx1-vmnic1", priority 200, cookie 0xd001800000002
    drop

Final flow: reg0=0xa,reg5=0x2,reg8=0x50,reg9=0x56000001,in_port="esx1-vmnic1",vlan_tci=0x0000,dl_src=00:50:56:00:00:02,dl_dst=00:50:56:00:00:01,dl_type=0x88b5
Megaflow: recirc_id=0,eth,in_port="esx1-vmnic1",dl_vlan=10,dl_vlan_pcp=0,dl_src=00:50:56:00:00:02,dl_dst=00:50:56:00:00:01,dl_type=0x88b5
Datapath actions: drop
"""  # noqa: E501
LONELY = """\
Flow: in_port=alone,vlan_tci=0x0000,dl_src=00:0c:29:00:00:02,dl_dst=ff:ff:ff:ff:ff:ff,dl_type=0x88b5

bridge("tor3")
--------------
 0. in_port=alone, priority 100
    goto_table:10
10. in_port=alone,vlan_tci=0x0000/0x1fff, priority 100
    set_field:0x4d->reg0
    goto_table:30
30. priority 50
    move:NXM_OF_ETH_DST[]->OXM_OF_PKT_REG4[0..47]
     -> OXM_OF_PKT_REG4[0..47] is now 0xffffffffffff
    move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[]
     -> NXM_OF_ETH_DST[] is now 00:0c:29:00:00:02
    resubmit(,35)
    35. No match.
            drop
    move:OXM_OF_PKT_REG4[0..47]->NXM_OF_ETH_DST[]
     -> NXM_OF_ETH_DST[] is now ff:ff:ff:ff:ff:ff
    move:NXM_NX_REG5[]->NXM_NX_REG6[]
     -> NXM_NX_REG6[] is now 0
    set_field:0->reg5
    goto_table:31
31. priority 10
    learn(table=33,priority=1,limit=1,result_dst=NXM_NX_REG7[0],NXM_OF_ETH_SRC[])
     -> table=33 dl_src=00:0c:29:00:00:02 priority=1 actions=drop
     -> NXM_NX_REG7[0] is now 0
     -> Limit exceeded, learn failed
    goto_table:32
32. reg6=0, priority 50
    learn(table=35,hard_timeout=300,priority=50,cookie=0x1ea00000000,limit=8192,NXM_NX_REG0[],NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],load:NXM_OF_IN_PORT[]->NXM_NX_REG5[0..15])
     -> table=35 reg0=0x4d,dl_dst=00:0c:29:00:00:02 priority=50 cookie=0x1ea00000000 hard=300 actions=load:0x1->NXM_NX_REG5[0..15]
    goto_table:40
40. dl_dst=01:00:00:00:00:00/01:00:00:00:00:00, priority 100
    goto_table:50
50. reg0=0x4d,in_port=alone, priority 60, cookie 0xd001900000001
    drop

Final flow: reg0=0x4d,reg8=0xffff,reg9=0xffffffff,in_port=alone,vlan_tci=0x0000,dl_src=00:0c:29:00:00:02,dl_dst=ff:ff:ff:ff:ff:ff,dl_type=0x88b5
Megaflow: recirc_id=0,eth,in_port=alone,dl_src=00:0c:29:00:00:02,dl_dst=ff:ff:ff:ff:ff:ff,dl_type=0x88b5
Datapath actions: drop
"""  # noqa: E501
MIRRORED = """\
Flow: in_port="db1.eth0",vlan_tci=0x0000,dl_src=00:50:56:00:00:03,dl_dst=00:50:56:00:00:04,dl_type=0x88b5

bridge("dvs0")
--------------
 0. in_port="db1.eth0", priority 100
    goto_table:10
10. in_port="db1.eth0",dl_src=00:50:56:00:00:03, priority 100
    goto_table:15
15. priority 0
    goto_table:20
20. in_port="db1.eth0",vlan_tci=0x0000/0x1fff, priority 100
    set_field:0x14->reg0
    goto_table:25
25. in_port="db1.eth0", priority 50
    clone(set_field:0x2->reg6,resubmit(,70))
    set_field:0x2->reg6
    resubmit(,70)
    70. reg6=0x2, priority 50
            push_vlan:0x8100
            move:NXM_NX_REG0[0..11]->NXM_OF_VLAN_TCI[0..11]
             -> NXM_OF_VLAN_TCI[0..11] is now 0x14
            move:NXM_NX_REG1[0..2]->NXM_OF_VLAN_TCI[13..15]
             -> NXM_OF_VLAN_TCI[13..15] is now 0
            push_vlan:0x8100
            set_field:0x13e7->vlan_tci
            clone(set_field:0x2->reg7,resubmit(,75))
            set_field:0x2->reg7
            resubmit(,75)
        75. reg6=0x2,reg7=0x2, priority 50
            output(port=vmnic1,max_len=60)
    goto_table:28
28. priority 0
    goto_table:30
30. priority 10
    goto_table:40
40. in_port="db1.eth0", priority 100
    set_field:0x1->reg5
    goto_table:60
60. reg5=0x1, priority 50
    push_vlan:0x8100
    move:NXM_NX_REG0[0..11]->NXM_OF_VLAN_TCI[0..11]
     -> NXM_OF_VLAN_TCI[0..11] is now 0x14
    move:NXM_NX_REG1[0..2]->NXM_OF_VLAN_TCI[13..15]
     -> NXM_OF_VLAN_TCI[13..15] is now 0
    output:vmnic0

Final flow: reg0=0x14,reg5=0x1,in_port="db1.eth0",dl_vlan=20,dl_vlan_pcp=0,vlan_tci1=0x0000,dl_src=00:50:56:00:00:03,dl_dst=00:50:56:00:00:04,dl_type=0x88b5
Megaflow: recirc_id=0,eth,in_port="db1.eth0",dl_src=00:50:56:00:00:03,dl_dst=00:50:56:00:00:04,dl_type=0x88b5
Datapath actions: trunc(60),push_vlan(vid=20,pcp=0),push_vlan(vid=999,pcp=0),vmnic1,pop_vlan,vmnic0
"""  # noqa: E501
TEN, FIVE = Tag(10), Tag(10, 5)


@pytest.mark.parametrize(
    ("text", "came_in", "outputs"),
    [
        pytest.param(LOCAL, (), [("web2.eth0", ())], id="one port"),
        pytest.param(DOUBLE_TAG, (TEN,), [], id="none"),
        pytest.param(
            BROADCAST_OUT,
            (),
            [("web2.eth0", ()), ("app1.eth0", ()), ("trunk1.eth0", (TEN,)), ("vmnic1", (TEN,))],
            id="tag pushed between copies",
        ),
        pytest.param(
            FROM_UPLINK,
            (TEN,),
            [("web1.eth0", ()), ("app1.eth0", ()), ("trunk1.eth0", (TEN,))],
            id="popped, pushed again",
        ),
        pytest.param(
            VGT,
            (FIVE, Tag(30, 2)),
            [("old1.eth0", (Tag(30, 2),)), ("old2.eth0", (Tag(30, 2),)), ("vmnic0", (FIVE, Tag(30, 2)))],
            id="outer tag popped off an inner one",
        ),
        pytest.param(
            FLOOD,
            (Tag(0, 3),),
            [(port, (Tag(10, 3),)) for port in ("esx1-vmnic0", "esx1-vmnic1", "esx2-vmnic0", "esx2-vmnic1", "tor2")],
            id="priority tag becomes a VLAN tag",
        ),
        pytest.param(LEARNED, (), [("esx1-vmnic1", (TEN,))], id="learning switch, known address"),
        pytest.param(LONELY, (), [], id="learning switch, nobody there"),
    ],
)
def test_copies_that_leave_by_a_trace(
    text: str, came_in: tuple[Tag, ...], outputs: list[tuple[str, tuple[Tag, ...]]]
) -> None:
    assert read_trace(text, came_in).outputs == tuple(Output(port, tags) for port, tags in outputs)


def test_mir_3_a_copy_that_is_cut_and_the_frame_that_is_not() -> None:
    assert read_trace(MIRRORED, ()).outputs == (
        Output("vmnic1", (Tag(999), Tag(20)), length=60), Output("vmnic0", (Tag(20),)),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "drops"),
    [
        pytest.param(LOCAL, [], id="delivered"),
        pytest.param(DOUBLE_TAG, [(DropReason.DOUBLE_TAG, 100, "VLAN-6")], id="by a row"),
        pytest.param(BROADCAST_OUT, [(DropReason.PORT_BLOCKED, 107, "SEC-19")], id="one copy of several"),
        pytest.param(
            FROM_UPLINK,
            [(DropReason.REVERSE_PATH, 101, "FWD-11"), (DropReason.PORT_BLOCKED, 107, "SEC-19")],
            id="two copies of several",
        ),
        pytest.param(ACCESS, [(DropReason.PSWITCH_ACCESS_TAGGED, 5, "VLAN-16")], id="by a pSwitch's row"),
        pytest.param(FLOOD, [], id="flooded, nothing learned there yet"),
        pytest.param(LEARNED, [], id="learned"),
        pytest.param(MIRRORED, [], id="mirrored"),
        pytest.param(SAME_PORT, [(DropReason.PSWITCH_SAME_PORT, 2, "")], id="learned on the port it came in"),
        pytest.param(LONELY, [(DropReason.PSWITCH_NO_RECEIVER, 1, "")], id="no other port in the VLAN"),
    ],
)
def test_drops_by_a_trace(text: str, drops: list[tuple[DropReason, int, str]]) -> None:
    assert read_trace(text, ()).drops == tuple(drops)


@pytest.mark.parametrize(
    ("text", "tables"),
    [
        pytest.param(LOCAL, (0, 10, 15, 20, 25, 28, 30, 50, 52, 55, 60), id="delivered locally"),
        pytest.param(DOUBLE_TAG, (0, 10, 15, 20), id="dropped on the way"),
        pytest.param(
            BROADCAST_OUT,
            (0, 10, 15, 20, 25, 28, 30, 50, *(50, 52, 55, 60) * 3, 50, 40, 60),
            id="once for each copy, and where its own and a blocked one end",
        ),
        pytest.param(MIRRORED, (0, 10, 15, 20, 25, 70, 75, 28, 30, 40, 60), id="a mirror copy on its way"),
        pytest.param(ACCESS, (0, 10), id="pSwitch"),
        pytest.param(LEARNED, (0, 10, 30, 35, 31, 40, 35, 45), id="pSwitch, learned rows"),
    ],
)
def test_tables_hit_by_a_trace(text: str, tables: tuple[int, ...]) -> None:
    assert read_trace(text, ()).tables == tables


@pytest.mark.parametrize(
    ("actions", "outputs"),
    [
        ("drop", []),
        ("clone(push_vlan(vid=7,pcp=0),a),b", [("a", (Tag(7), TEN)), ("b", (TEN,))]),
        ("set(vlan(vid=7,pcp=2)),a", [("a", (Tag(7, 2),))]),
        ("push_vlan(tpid=0x88a8,vid=7,pcp=1),a", [("a", (Tag(7, 1, 0x88A8), TEN))]),
        ("pop_vlan,set(eth(src=00:50:56:00:00:01)),a", [("a", ())]),
        ("userspace(pid=0,controller(reason=1)),a", [("a", (TEN,))]),
        ("ct_clear,a", [("a", (TEN,))]),
    ],
)
def test_datapath_actions(actions: str, outputs: list[tuple[str, tuple[Tag, ...]]]) -> None:
    trace = read_trace(f"Flow: in_port=x\nDatapath actions: {actions}\n", (TEN,))
    assert trace.outputs == tuple(Output(port, tags) for port, tags in outputs)


@pytest.mark.parametrize(
    ("actions", "lengths"),
    [
        ("a,b", [("a", None), ("b", None)]),
        ("trunc(60),a,b", [("a", 60), ("b", None)]),
        ("trunc(60),push_vlan(vid=7,pcp=0),a,pop_vlan,b", [("a", 60), ("b", None)]),
        ("trunc(60),a,trunc(100),b", [("a", 60), ("b", 100)]),
        ("clone(trunc(60),a),b", [("a", 60), ("b", None)]),
    ],
)
def test_mir_3_truncation_is_of_the_next_copy_only(actions: str, lengths: list[tuple[str, int | None]]) -> None:
    trace = read_trace(f"Flow: in_port=x\nDatapath actions: {actions}\n", (TEN,))
    assert [(output.interface, output.length) for output in trace.outputs] == lengths


# -- sightings

FILE = Path(__file__).parents[1] / "lab" / "switching.yaml"
TOPOLOGY = read_topology_file(FILE)
POINTS = PointMap.of(compile_plan(TOPOLOGY, initial_state(TOPOLOGY)))
TOKEN = bytes(16)
WEB1: End = ("web1", "eth0")
SENDERS = {TOKEN: WEB1}


def seen(*steps: tuple[str, str, int] | tuple[str, str, int, int]) -> list[Sighting]:
    """(node, interface, time, VLAN or nothing) each."""
    tags = [(Tag(step[3]),) if len(step) == 4 else () for step in steps]
    frames = [Frame("00:50:56:00:00:01", BROADCAST, tag) for tag in tags]
    return [Sighting((s[0], s[1]), s[2], f, TOKEN, 0) for s, f in zip(steps, frames, strict=True)]


def told(hops: Sequence[Hop]) -> list[tuple[str, str, str, int | None]]:
    return [(hop.box, hop.point.value, hop.interface, hop.parent) for hop in hops]


LOCAL_STEPS = (("web1", "eth0", 1), ("esx1", "web1.eth0", 2), ("esx1", "web2.eth0", 3), ("web2", "eth0", 4))
LOCAL_HOPS = [
    ("esx1", "VnicTx", "eth0", None),
    ("esx1", "PortInput", "web1.eth0", 0),
    ("esx1", "VnicOut", "web2.eth0", 1),
    ("esx1", "VnicRx", "eth0", 2),
]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2)], ids=str)
def test_hops_are_in_time_order_whatever_the_order_of_the_captures(order: tuple[int, ...]) -> None:
    hops = hops_of(POINTS, [seen(*LOCAL_STEPS)[i] for i in order], SENDERS)
    assert told(hops) == LOCAL_HOPS
    assert [hop.time_ns for hop in hops] == [1, 2, 3, 4]
    assert {hop.evidence for hop in hops} == {"wire"}


def test_two_sightings_in_one_nanosecond_have_the_senders_first() -> None:
    steps = [(node, interface, 1) for node, interface, _ in LOCAL_STEPS[:2]]
    assert told(hops_of(POINTS, seen(*steps), SENDERS)) == LOCAL_HOPS[:2]


def test_of_a_guest_that_is_not_watched_the_switchs_end_tells_the_direction() -> None:
    hops = hops_of(POINTS, seen(LOCAL_STEPS[1], LOCAL_STEPS[2]), SENDERS)
    assert [(hop.point, hop.direction, hop.parent) for hop in hops] == [
        (Point.PORT_INPUT, "in", None),
        (Point.VNIC_OUT, "out", 0),
    ]


@pytest.mark.parametrize("times", [(1, 9), (9, 1)])
def test_at_an_unwatched_senders_port_only_the_first_sighting_came_in(times: tuple[int, int]) -> None:
    steps = [("esx1", "web1.eth0", time, 10 + time) for time in times]
    hops = hops_of(POINTS, seen(*steps), SENDERS)
    assert [(hop.point, hop.direction) for hop in hops] == [(Point.PORT_INPUT, "in"), (Point.VNIC_OUT, "out")]
    assert [hop.vlans for hop in hops] == [(Tag(11),), (Tag(19),)]


def test_another_token_has_another_sender() -> None:
    (hop,) = hops_of(POINTS, seen(("esx1", "web1.eth0", 1)), {TOKEN: ("web2", "eth0")})
    assert hop.point is Point.VNIC_OUT


def test_hops_across_hosts_keep_tags_switches_and_nodes() -> None:
    steps = (
        ("web1", "eth0", 1), ("esx1", "web1.eth0", 2), ("esx1", "vmnic1", 3, 10), ("tor1", "esx1-vmnic1", 4, 10),
        ("tor1", "gw", 5), ("gw", "eth0", 6),
    )  # fmt: skip
    hops = hops_of(POINTS, seen(*steps), SENDERS)
    assert told(hops)[2:] == [
        ("esx1", "UplinkSnd", "vmnic1", 1),
        ("tor1", "PSwitchRcv", "esx1-vmnic1", 2),
        ("tor1", "PSwitchSnd", "gw", 3),
        ("gw", "NicRx", "eth0", 4),
    ]
    assert [tuple(tag.vid for tag in hop.vlans) for hop in hops] == [(), (), (10,), (10,), (), ()]
    assert [hop.switch for hop in hops] == ["", "dvs0", "dvs0", "tor1", "tor1", ""]
    assert [hop.node for hop in hops] == ["web1", "web1", "esx1", "tor1", "gw", "gw"]


def test_vmknics_have_points_of_their_own() -> None:
    steps = (("esx1-vmk", "vmk0", 1), ("esx1", "vmk0", 2), ("esx1", "vmnic0", 3, 5))
    hops = hops_of(POINTS, seen(*steps), {TOKEN: ("esx1-vmk", "vmk0")})
    assert told(hops) == [
        ("esx1", "VmkTx", "vmk0", None),
        ("esx1", "PortInput", "vmk0", 0),
        ("esx1", "UplinkSnd", "vmnic0", 1),
    ]


REFLECTED = (
    *LOCAL_STEPS[:2],
    ("esx1", "vmnic1", 3, 10),
    ("tor1", "esx1-vmnic1", 4, 10),
    ("tor1", "tor2", 5, 10),
    ("tor2", "tor1", 6, 10),
    ("tor2", "esx1-vmnic2", 7, 10),
    ("esx1", "vmnic2", 8, 10),
    ("esx1", "web2.eth0", 9),
    ("web2", "eth0", 10),
)


def parent_of_the_delivery(hops: Sequence[Hop]) -> Hop:
    (delivery,) = [hop for hop in hops if hop.point is Point.VNIC_OUT]
    assert delivery.parent is not None
    return hops[delivery.parent]


def test_a_copy_is_taken_for_the_last_that_came_into_its_box() -> None:
    parent = parent_of_the_delivery(hops_of(POINTS, seen(*REFLECTED), SENDERS))
    assert (parent.point, parent.interface) == (Point.UPLINK_RCV, "vmnic2")


@pytest.mark.parametrize(("index", "interface"), [(0, "web1.eth0"), (1, "vmnic2")])
def test_choose_decides_which_copy_went_out(index: int, interface: str) -> None:
    asked: list[tuple[list[str], str]] = []

    def choose(candidates: Sequence[Hop], out: Hop) -> int:
        asked.append(([hop.interface for hop in candidates], out.interface))
        return index

    assert parent_of_the_delivery(hops_of(POINTS, seen(*REFLECTED), SENDERS, choose)).interface == interface
    assert asked == [(["web1.eth0", "vmnic2"], "web2.eth0")]


def test_choose_is_not_asked_when_one_copy_came_in() -> None:
    def choose(_candidates: Sequence[Hop], _out: Hop) -> int:
        raise AssertionError

    assert told(hops_of(POINTS, seen(*LOCAL_STEPS), SENDERS, choose)) == LOCAL_HOPS


def test_switches_of_one_host_are_never_each_others_parents() -> None:
    steps = (("web1", "eth0", 1), ("esx1", "web1.eth0", 2), ("esx1", "old1.eth0", 3))
    assert [hop.parent for hop in hops_of(POINTS, seen(*steps), SENDERS)] == [None, 0, None]


def test_a_frame_that_was_not_seen_has_no_hops() -> None:
    assert hops_of(POINTS, [], SENDERS) == ()


def test_every_cable_end_has_a_place() -> None:
    assert set(POINTS.places) == set(POINTS.far)
    assert all(POINTS.far[far] == end for end, far in POINTS.far.items())


# -- pcapng

NEEDLE = b"VLABCNRY" + bytes(range(16))
FRAMES = [
    Frame("00:50:56:00:00:01", BROADCAST, (), 0x88B5, body).to_bytes()
    for body in (NEEDLE + bytes(20), bytes(46), b"xyz" + NEEDLE + bytes(7), bytes(60))
]
WITH_NEEDLE = [FRAMES[0], FRAMES[2]]


def packets(path: Path, needle: bytes = b"") -> list[Packet]:
    with CaptureFile(path) as capture:
        return list(capture.find(needle))


def written(path: Path, frames: Sequence[bytes] = FRAMES, start: float = 100.0, **named: str) -> Path:
    with PcapNgWriter(str(path)) as writer:
        for number, data in enumerate(frames):
            packet = Ether(data)
            packet.time = start + number
            packet.sniffed_on = named.get("interface", f"nic{number % 2}")
            writer.write(packet)
    return path


def block(order: str, kind: int, body: bytes) -> bytes:
    length = struct.pack(order + "I", 12 + len(body))
    return struct.pack(order + "I", kind) + length + body + length


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def option(order: str, code: int, value: bytes) -> bytes:
    return struct.pack(order + "HH", code, len(value)) + padded(value)


def section(order: str) -> bytes:
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))


def description(order: str, name: bytes = b"", resolution: int | None = None) -> bytes:
    options = option(order, 2, name) if name else b""
    options += option(order, 9, bytes([resolution])) if resolution is not None else b""
    return block(order, 1, struct.pack(order + "HHI", 1, 0, 0) + options + (option(order, 0, b"") if options else b""))


def enhanced(order: str, data: bytes, ticks: int = 0, interface: int = 0, comment: bytes = b"", wire: int = 0) -> bytes:
    head = struct.pack(order + "5I", interface, ticks >> 32, ticks & 0xFFFFFFFF, len(data), wire or len(data))
    options = option(order, 1, comment) + option(order, 0, b"") if comment else b""
    return block(order, 6, head + padded(data) + options)


def file_of(tmp_path: Path, *blocks: bytes) -> Path:
    path = tmp_path / "made.pcapng"
    path.write_bytes(b"".join(blocks))
    return path


def test_all_packets_of_a_file_that_scapy_wrote(tmp_path: Path) -> None:
    found = packets(written(tmp_path / "a.pcapng"))
    assert [packet.data for packet in found] == FRAMES
    assert [packet.time_ns for packet in found] == [(100 + n) * 10**9 for n in range(4)]
    assert [packet.interface for packet in found] == ["nic0", "nic1", "nic0", "nic1"]
    assert [packet.original_length for packet in found] == [len(data) for data in FRAMES]


def test_only_packets_that_hold_the_needle(tmp_path: Path) -> None:
    path = written(tmp_path / "a.pcapng")
    assert [packet.data for packet in packets(path, NEEDLE)] == WITH_NEEDLE
    assert packets(path, b"not there") == []


@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
def test_both_byte_orders(tmp_path: Path, order: str) -> None:
    made = [section(order), description(order, b"vmnic0"), *(enhanced(order, data, 7) for data in FRAMES)]
    found = packets(file_of(tmp_path, *made), NEEDLE)
    assert [(packet.data, packet.interface, packet.time_ns) for packet in found] == [
        (data, "vmnic0", 7000) for data in WITH_NEEDLE
    ]


@pytest.mark.parametrize("orders", ["<>", "><", "<<"])
def test_a_second_section_has_its_own_byte_order_and_interfaces(tmp_path: Path, orders: str) -> None:
    made = [
        part
        for order, name in zip(orders, (b"first", b"second"), strict=True)
        for part in (section(order), description(order, name), enhanced(order, FRAMES[0]))
    ]
    assert [packet.interface for packet in packets(file_of(tmp_path, *made), NEEDLE)] == ["first", "second"]


@pytest.mark.parametrize(
    ("resolution", "ticks", "time_ns"),
    [(None, 5, 5_000), (6, 5, 5_000), (9, 1 << 40, 1 << 40), (3, 5, 5_000_000), (0x80 | 10, 512, 500_000_000)],
)
def test_time_is_in_nanoseconds_whatever_the_resolution(
    tmp_path: Path, resolution: int | None, ticks: int, time_ns: int
) -> None:
    path = file_of(tmp_path, section("<"), description("<", b"a", resolution), enhanced("<", FRAMES[0], ticks))
    assert [packet.time_ns for packet in packets(path)] == [time_ns]


def test_several_interfaces_with_and_without_a_name(tmp_path: Path) -> None:
    descriptions = [description("<", b"vmnic0", 9), description("<"), description("<", b"vmnic2", 6)]
    made = [enhanced("<", FRAMES[0], 4, interface) for interface in (2, 0, 1)]
    found = packets(file_of(tmp_path, section("<"), *descriptions, *made))
    assert [(packet.interface, packet.time_ns) for packet in found] == [
        ("vmnic2", 4000), ("vmnic0", 4), ("interface 1", 4000),
    ]  # fmt: skip


def test_blocks_of_other_kinds_are_passed_over(tmp_path: Path) -> None:
    other = block("<", 5, bytes(8) + NEEDLE)
    path = file_of(tmp_path, section("<"), description("<", b"a"), other, enhanced("<", FRAMES[0]), other)
    assert [packet.data for packet in packets(path, NEEDLE)] == [FRAMES[0]]


def test_a_packets_comment_and_its_length_on_the_wire(tmp_path: Path) -> None:
    path = file_of(
        tmp_path, section("<"), description("<", b"a"), enhanced("<", FRAMES[0][:61], comment=b"wrong", wire=1500)
    )
    (packet,) = packets(path)
    assert (packet.comment, packet.original_length, packet.data) == ("wrong", 1500, FRAMES[0][:61])


@pytest.mark.parametrize("cut", [1, 4, 13, 40, 80])
@pytest.mark.parametrize("needle", [b"", NEEDLE], ids=["all", "needle"])
def test_a_last_block_that_is_cut_off_is_left_out(tmp_path: Path, cut: int, needle: bytes) -> None:
    made = (section("<"), description("<", b"a"), enhanced("<", FRAMES[0]), enhanced("<", FRAMES[2]))
    whole = file_of(tmp_path, *made)
    assert [packet.data for packet in packets(whole, needle)] == WITH_NEEDLE
    whole.write_bytes(whole.read_bytes()[:-cut])
    assert [packet.data for packet in packets(whole, needle)] == [FRAMES[0]]


def test_an_empty_file_has_no_packets(tmp_path: Path) -> None:
    assert packets(file_of(tmp_path)) == []
    assert packets(file_of(tmp_path), NEEDLE) == []


def test_a_file_without_packets(tmp_path: Path) -> None:
    assert packets(file_of(tmp_path, section("<"), description("<", b"a"))) == []


def test_a_classic_pcap_is_no_pcapng(tmp_path: Path) -> None:
    with PcapWriter(str(tmp_path / "old.pcap")) as writer:
        writer.write(Ether(FRAMES[0]))
    with pytest.raises(CannotTell, match=r"old\.pcap is no pcapng file"):
        packets(tmp_path / "old.pcap")


def test_a_packet_of_an_interface_that_was_not_described_is_refused(tmp_path: Path) -> None:
    path = file_of(tmp_path, section("<"), description("<", b"a"), enhanced("<", FRAMES[0], interface=1))
    with pytest.raises(CannotTell, match="headers do not describe"):
        packets(path)


def test_a_packet_longer_than_its_block_is_refused(tmp_path: Path) -> None:
    made = bytearray(enhanced("<", FRAMES[0]))
    struct.pack_into("<I", made, 20, 4000)
    with pytest.raises(CannotTell, match="headers do not describe"):
        packets(file_of(tmp_path, section("<"), description("<", b"a"), bytes(made)))


def test_a_block_of_an_impossible_length_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotTell, match=r"no pcapng file \(byte 28\)"):
        packets(file_of(tmp_path, section("<"), struct.pack("<II", 6, 8), bytes(20)))


def test_a_missing_file_is_the_callers_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        CaptureFile(tmp_path / "none.pcapng")


def test_merging_keeps_interface_names_and_puts_packets_in_time_order(tmp_path: Path) -> None:
    one = written(tmp_path / "1.pcapng", FRAMES[:2], 100.0, interface="vmnic0")
    two = written(tmp_path / "2.pcapng", FRAMES[2:], 100.5, interface="vmnic1")
    merge_pcapng([one, two], tmp_path / "both.pcapng")
    found = packets(tmp_path / "both.pcapng")
    assert [packet.interface for packet in found] == ["vmnic0", "vmnic1", "vmnic0", "vmnic1"]
    assert [packet.data for packet in found] == [FRAMES[0], FRAMES[2], FRAMES[1], FRAMES[3]]
    assert [packet.data for packet in packets(tmp_path / "both.pcapng", NEEDLE)] == WITH_NEEDLE


def test_merging_what_is_no_capture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad").write_text("no capture at all")
    with pytest.raises(CannotTell, match="mergecap"):
        merge_pcapng([tmp_path / "bad"], tmp_path / "out.pcapng")


def captured_on_lo(path: Path, frame: bytes) -> None:
    """Send one frame over `lo` while dumpcap writes what it sees of ethertype 0x88B5."""
    argv = ["dumpcap", "-q", "-p", "-i", "lo", "-f", "ether proto 0x88b5", "-c", "1", "-w", str(path)]
    with subprocess.Popen(argv, stderr=subprocess.PIPE) as dumpcap:
        assert dumpcap.stderr is not None
        while b"File:" not in dumpcap.stderr.readline():
            assert dumpcap.poll() is None
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as raw:
            raw.bind(("lo", 0))
            raw.send(frame)
        dumpcap.communicate(timeout=20)


@pytest.mark.skipif(os.geteuid() != 0, reason="capturing needs root")
def test_a_capture_that_dumpcap_wrote(tmp_path: Path) -> None:
    captured_on_lo(tmp_path / "lo.pcapng", FRAMES[0])
    (packet,) = packets(tmp_path / "lo.pcapng", NEEDLE)
    assert (packet.interface, packet.data) == ("lo", FRAMES[0])


def test_what_does_not_begin_with_a_section_is_no_capture(tmp_path: Path) -> None:
    (tmp_path / "no.pcapng").write_bytes(b"d" * 600)
    with CaptureFile(tmp_path / "no.pcapng") as file, pytest.raises(CannotTell, match="no pcapng"):
        list(file.find(b""))


def test_a_needle_in_a_comment_is_not_in_the_frame(tmp_path: Path) -> None:
    path = tmp_path / "comment.pcapng"
    frame = bytes(60)
    options = struct.pack("<HH8s", 1, 8, b"VLABCNRY") + bytes(4)
    body = struct.pack("<5I", 0, 0, 0, len(frame), len(frame)) + frame + options
    blocks = [(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)), (1, struct.pack("<HHI", 1, 0, 0)), (6, body)]
    path.write_bytes(
        b"".join(struct.pack("<II", k, len(b) + 12) + b + struct.pack("<I", len(b) + 12) for k, b in blocks)
    )
    with CaptureFile(path) as file:
        assert len(list(file.find(b""))) == 1
        assert not list(file.find(b"VLABCNRY"))
