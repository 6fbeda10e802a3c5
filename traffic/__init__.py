"""Frames and their injection: scapy and raw sockets. It knows frames, not labs."""
