"""One line a record, `key=value`, for journald and whoever greps it at night."""

import json
import logging

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


def _quoted(value: object) -> str:
    """`value` bare when it is one plain word, else as a JSON string (so a line break cannot forge a line)."""
    text = str(value)
    plain = text and text.isascii() and text.isprintable() and not set(text) & {" ", '"', "=", "\\"}
    return text if plain else json.dumps(text, ensure_ascii=False)


class LineFormatter(logging.Formatter):
    """`level=INFO logger=matches message="match finished" match=k3… mode=ai`: fields come from `extra={…}`.

    There is no time in the line: journald stamps it.
    """

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        # Django attaches the request object; its repr adds nothing to the message.
        fields |= {key: value for key, value in vars(record).items() if key not in _STANDARD and key != "request"}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return " ".join(f"{key}={_quoted(value)}" for key, value in fields.items())
