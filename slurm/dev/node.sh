#!/bin/sh
# Process 1 of a node, in namespaces of its own: makes the machine look like the node, runs slurmd, reaps.
# node.sh FOLDER NODE OWN_TMP [ADDRESS GATEWAY]    OWN_TMP: yes or no; ADDRESS: with a network of its own
set -eu
folder=$1 node=$2 own_tmp=$3 address=${4:-} gateway=${5:-}

hostname "$node"
mount --bind "$folder/etc/hosts" /etc/hosts
if [ "$own_tmp" = yes ]; then
    mount -t tmpfs tmpfs /dev/shm
    mount --bind "$folder/spool/$node/local" "$folder/local"
fi
if [ -n "$address" ]; then
    # A name server that cannot be reached would cost each look-up of a name 5 s.
    [ ! -e /etc/resolv.conf ] || mount --bind /dev/null /etc/resolv.conf
    until ip link show eth0 > /dev/null 2>&1; do sleep 0.02; done
    ip link set lo up
    ip address add "$address/24" dev eth0
    ip link set eth0 up
    ip route add default via "$gateway"
fi
slurmd -D -N "$node" &
# As long as slurmd lives; wait collects all the orphans on the way.
wait $!
