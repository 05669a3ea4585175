"""How `hadirector trace` sees packets. scapy is imported here and in nothing a daemon imports."""
