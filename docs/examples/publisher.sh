#!/bin/sh
# The command `publisher` of this machine: it runs the installed release as its system user, in its workspace, from any
# folder. Install it as /usr/local/bin/publisher, mode 755, and put your own paths in.
# 本机的命令 publisher：在任何文件夹里，都以 publisher 的系统用户、在它的工作区里运行。装成 /usr/local/bin/publisher，权限 755，
# 并把其中的路径换成自己的。

PUBLISHER_USER=publisher
PUBLISHER_RELEASE=/opt/publisher
# Commands without -C work here, and the commands that messages name are called as this one was.
export PUBLISHER_WORKSPACE=/srv/publisher
export PUBLISHER_PROGRAM=publisher

case $(id -un) in
    "$PUBLISHER_USER") exec "$PUBLISHER_RELEASE/.venv/bin/publisher" "$@" ;;
    root) exec runuser -u "$PUBLISHER_USER" -- "$PUBLISHER_RELEASE/.venv/bin/publisher" "$@" ;;
    # sudo keeps neither PUBLISHER_TOKEN nor PUBLISHER_LANG, unless sudoers has env_keep for them
    *) exec sudo -u "$PUBLISHER_USER" -- "$0" "$@" ;;
esac
