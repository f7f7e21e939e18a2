# machine.sh ADDRESS: PID 1 of a lab, in a mount, network and pid namespace of its own that hold all of its hosts.
# When this process ends the kernel ends every process of the lab, and with them go all of its mounts,
# interfaces and namespaces. Nothing of the lab is outside, so nothing can be left behind.
# stdin is held open by `up` until the lab stands: should `up` die before, the read below ends the lab.
set -eu
mount -t tmpfs -o mode=755 run /run
mkdir /run/netns /run/lab
ip link set lo up
ip link add br0 type bridge forward_delay 0
ip addr add "$1/24" dev br0
ip link set br0 up
echo ready
exec >&2
read -r stands
[ "$stands" = stands ]
exec </dev/null
sleep infinity &
# wait also reaps the orphans that the kernel hands to PID 1.
while :; do wait; done
