# machine.sh ADDRESS: PID 1 of a lab, in a mount, network and pid namespace of its own that hold all of its hosts.
# When this process ends the kernel ends every process of the lab, and with them go all of its mounts,
# interfaces and namespaces. Nothing of the lab is outside, so nothing can be left behind; but for the control group
# LAB_CGROUP of hosts that systemd boots, which `down` removes, or we if `up` dies.
# stdin is held open by `up` until the lab stands: should `up` die before, the read below ends the lab.
set -eu
mount -t tmpfs -o mode=755 run /run
mkdir /run/netns /run/lab
ip link set lo up
ip link add br0 type bridge forward_delay 0
ip addr add "$1/24" dev br0
ip link set br0 up
[ -z "$LAB_CGROUP" ] || mkdir "$LAB_CGROUP"
echo ready
exec >&2
stands=
read -r stands || true
if [ "$stands" != stands ]; then
  until [ ! -d "$LAB_CGROUP" ] || find "$LAB_CGROUP" -depth -type d -exec rmdir {} + 2>/dev/null; do
    kill -KILL -1 || true
    sleep 0.01
  done
  exit 1
fi
exec </dev/null
sleep infinity &
# wait also reaps the orphans that the kernel hands to PID 1.
while :; do wait; done
