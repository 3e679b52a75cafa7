"""Contract v2, form python: marks what looks like spam, and refuses what certainly is.

In relevo.toml: [[hook]] with stage = "post-data", form = "python", target = "hooks/spam.py".
"""

from relevo.hook import HeaderField, Message, PostDataContext, PostDataVerdict, Reject

WORDS = ("lottery", "inheritance", "act now")


async def post_data(message: Message, context: PostDataContext) -> PostDataVerdict | None:
    if context.auth:
        return None  # a user of ours
    subject = str(message.fields.get("Subject", "")).lower()
    score = sum(word in subject for word in WORDS)
    if score > 1:
        raise Reject("The message looks like spam")
    return PostDataVerdict(add_headers=[HeaderField("X-Spam-Score", str(score))])
